// Work of a stream, recorded once and launched many times: a CUDA graph. Launching one costs a few microseconds
// whatever number of kernels it holds. A CPU has none.
#pragma once

#include <functional>

#include "core/device.h"

namespace wt {

class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  // Records what `work` enqueues instead of running it. `work` must not copy from or to host memory, nor wait; tensors
  // it makes must be gone when it returns, and those it uses must outlive the graph, which waits for its launches
  // before it goes. Whatever libraries prepare at a first call (plans, workspaces) must have been prepared by an
  // ordinary run before. Where the device has no memory for it the graph is not recorded: run `work` itself instead.
  static Graph record(const Stream& stream, const std::function<void()>& work);
  bool recorded() const { return executable_ != nullptr; }
  void launch(const Stream& stream) const;

 private:
  void* executable_ = nullptr;  // cudaGraphExec_t
};

}  // namespace wt
