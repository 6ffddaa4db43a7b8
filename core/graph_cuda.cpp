#include "core/graph_cuda.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/cuda.h"
#include "core/cuda_check.h"

namespace wt::cuda {
namespace {

cudaStream_t native(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// Memory of a graph under recording. Allocations inside a recorded graph would each be a node of it, and a graph that
// has them neither starts its kernels back to back nor at a fixed address; so the work gets blocks that were allocated
// outside and stay until the graph is gone. In the one stream a block is free again as soon as its tensor is.
class GraphMemory {
 public:
  explicit GraphMemory(cudaStream_t stream) : stream_(stream), device_(device_of(stream)) {}

  cudaStream_t stream() const { return stream_; }

  void* take(std::size_t bytes) {
    // Another thread's work is no part of the recording, nor is its memory.
    if (std::this_thread::get_id() != thread_) return allocate_outside(bytes);
    Block* best = nullptr;
    for (Block& block : blocks_) {
      const bool fits = !block.taken && block.bytes >= bytes && block.bytes - bytes <= bytes / 4;
      if (fits && (best == nullptr || block.bytes < best->bytes)) best = &block;
    }
    if (best == nullptr) {
      void* pointer = allocate_outside(bytes);
      if (pointer == nullptr) {
        short_ = true;
        return nullptr;
      }
      blocks_.push_back({pointer, bytes, false});
      best = &blocks_.back();
    }
    best->taken = true;
    return best->pointer;
  }

  void give_back(void* pointer) {
    for (Block& block : blocks_) {
      if (block.pointer == pointer) {
        block.taken = false;
        return;
      }
    }
    from_before_.push_back(pointer);
  }

  // After the recording: frees what was allocated before it and given back during it.
  void finish() {
    for (void* pointer : std::exchange(from_before_, {})) static_cast<void>(cudaFreeAsync(pointer, stream_));
  }
  bool all_free() const {
    return std::none_of(blocks_.begin(), blocks_.end(), [](const Block& block) { return block.taken; });
  }
  // The work asked for more than the device has.
  bool ran_short() const { return short_; }
  void release() noexcept {
    for (const Block& block : blocks_) static_cast<void>(cudaFreeAsync(block.pointer, stream_));
    blocks_.clear();
  }

 private:
  struct Block {
    void* pointer;
    std::size_t bytes;
    bool taken;
  };

  // In a stream of its own: the recording one would make it part of the graph, and waiting for that one, or for the
  // device, would end the recording.
  void* allocate_outside(std::size_t bytes) const {
    const AnyTimeCalls allowed;
    use_device(device_);
    cudaStream_t side = nullptr;
    void* pointer = nullptr;
    WT_CUDA(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    cudaError_t status = cudaMallocAsync(&pointer, bytes, side);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      cudaMemPool_t pool = nullptr;
      status = cudaDeviceGetDefaultMemPool(&pool, device_);
      if (status == cudaSuccess) status = cudaMemPoolTrimTo(pool, 0);
      if (status == cudaSuccess) status = cudaMallocAsync(&pointer, bytes, side);
    }
    if (status == cudaSuccess) status = cudaStreamSynchronize(side);
    cudaStreamDestroy(side);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      return nullptr;
    }
    WT_CUDA(status);
    return pointer;
  }

  cudaStream_t stream_;
  int device_;
  std::thread::id thread_ = std::this_thread::get_id();
  std::vector<Block> blocks_;
  std::vector<void*> from_before_;
  bool short_ = false;
};

struct RecordedGraph {
  explicit RecordedGraph(cudaStream_t stream) : memory(stream) {}
  RecordedGraph(const RecordedGraph&) = delete;
  RecordedGraph& operator=(const RecordedGraph&) = delete;
  // Launches read what the recording used: whoever drops the graph may drop that next.
  ~RecordedGraph() {
    if (launched) static_cast<void>(cudaStreamSynchronize(memory.stream()));
    if (executable != nullptr) static_cast<void>(cudaGraphExecDestroy(executable));
    memory.release();
  }
  GraphMemory memory;
  cudaGraphExec_t executable = nullptr;
  bool launched = false;
};

// Streams under recording. Most of the time there is none, which costs a look at the count.
struct Recordings {
  std::atomic<int> count{0};
  std::mutex mutex;
  std::map<cudaStream_t, GraphMemory*> by_stream;
};
Recordings& recordings() {
  static auto& instance = *new Recordings;  // never destroyed: static tensors may outlive it
  return instance;
}

void begin_recording(GraphMemory& memory) {
  Recordings& all = recordings();
  const std::lock_guard lock(all.mutex);
  WT_CHECK(all.by_stream.emplace(memory.stream(), &memory).second,
           "a graph is recorded inside the recording of another");
  ++all.count;
}
void end_recording(const GraphMemory& memory) {
  Recordings& all = recordings();
  const std::lock_guard lock(all.mutex);
  all.by_stream.erase(memory.stream());
  --all.count;
}

// Calls f with the memory of the stream's recording, during which it cannot end.
template <class F>
bool with_recording(void* stream, F&& f) {
  Recordings& all = recordings();
  if (all.count.load(std::memory_order_acquire) == 0) return false;
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_stream.find(native(stream));
  if (found == all.by_stream.end()) return false;
  f(*found->second);
  return true;
}

}  // namespace

bool is_recorded(void* stream) {
  return with_recording(stream, [](GraphMemory&) {});
}
void* take_recorded(std::size_t bytes, void* stream) {
  void* pointer = nullptr;
  with_recording(stream, [&](GraphMemory& memory) { pointer = memory.take(bytes); });
  return pointer;
}
bool give_back_recorded(void* pointer, void* stream) noexcept {
  return with_recording(stream, [&](GraphMemory& memory) { memory.give_back(pointer); });
}

void* record_graph(void* stream, const std::function<void()>& work) {
  // What earlier work gives back goes to the graph's blocks, once that work is done.
  synchronize(stream);
  use_device_of(stream);
  auto recorded = std::make_unique<RecordedGraph>(native(stream));
  begin_recording(recorded->memory);
  cudaGraph_t graph = nullptr;
  const auto end = [&] {
    const cudaError_t status = cudaStreamEndCapture(native(stream), &graph);
    end_recording(recorded->memory);
    recorded->memory.finish();
    return status;
  };
  try {
    WT_CUDA(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal));
    work();
  } catch (...) {
    // The stream must leave its capturing state, whatever went wrong inside.
    if (end() == cudaSuccess && graph != nullptr) cudaGraphDestroy(graph);
    static_cast<void>(cudaGetLastError());
    if (recorded->memory.ran_short()) return nullptr;
    throw;
  }
  WT_CUDA(end());
  const cudaError_t status = cudaGraphInstantiate(&recorded->executable, graph, 0);
  cudaGraphDestroy(graph);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  WT_CUDA(status);
  WT_CHECK(recorded->memory.all_free(), "a tensor made while a graph was recorded outlived the recording");
  return recorded.release();
}

void launch_graph(void* graph, void* stream) {
  auto* const recorded = static_cast<RecordedGraph*>(graph);
  recorded->launched = true;
  use_device_of(stream);
  WT_CUDA(cudaGraphLaunch(recorded->executable, native(stream)));
}

void destroy_graph(void* graph) noexcept {
  delete static_cast<RecordedGraph*>(graph);
}

}  // namespace wt::cuda
