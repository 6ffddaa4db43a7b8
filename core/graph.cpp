#include "core/graph.h"

#include <utility>

#include "core/cuda.h"
#include "core/error.h"

namespace wt {

Graph::~Graph() {
  if (executable_ != nullptr) cuda::destroy_graph(executable_);
}

Graph::Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(executable_, other.executable_);
  return *this;
}

Graph Graph::record(const Stream& stream, const std::function<void()>& work) {
  WT_CHECK(stream.device().is_cuda(), "graphs are recorded on CUDA only");
  Graph graph;
  graph.executable_ = cuda::record_graph(stream.native(), work);
  return graph;
}

void Graph::launch(const Stream& stream) const {
  WT_CHECK(recorded(), "launch of a graph that was not recorded");
  cuda::launch_graph(executable_, stream.native());
}

}  // namespace wt
