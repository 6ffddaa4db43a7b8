#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/cuda.h"
#include "core/cuda_check.h"

namespace wt::cuda {
namespace {

constexpr int kMaxDevices = 64;

cudaStream_t native(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// Memory of a graph under recording. Allocations inside a recorded graph would each be a node of it, and a graph that
// has them neither starts its kernels back to back nor at a fixed address; so the work gets blocks that were allocated
// outside and stay until the graph is gone. In the one stream a block is free again as soon as its tensor is.
class GraphMemory {
 public:
  explicit GraphMemory(cudaStream_t stream) : stream_(stream) {}

  cudaStream_t stream() const { return stream_; }

  void* take(std::size_t bytes) {
    Block* best = nullptr;
    for (Block& block : blocks_) {
      const bool fits = !block.taken && block.bytes >= bytes && block.bytes - bytes <= bytes / 4;
      if (fits && (best == nullptr || block.bytes < best->bytes)) best = &block;
    }
    if (best == nullptr) {
      void* pointer = allocate_outside(bytes);
      if (pointer == nullptr) return nullptr;
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

  // In a stream of its own: the recording one would make it part of the graph.
  static void* allocate_outside(std::size_t bytes) {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    WT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    cudaStream_t side = nullptr;
    void* pointer = nullptr;
    cudaError_t status = cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking);
    if (status == cudaSuccess) status = cudaMallocAsync(&pointer, bytes, side);
    if (status == cudaSuccess) status = cudaStreamSynchronize(side);
    if (side != nullptr) cudaStreamDestroy(side);
    WT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      return nullptr;
    }
    WT_CUDA(status);
    return pointer;
  }

  cudaStream_t stream_;
  std::vector<Block> blocks_;
  std::vector<void*> from_before_;
};

// Of the graph that this thread records.
thread_local GraphMemory* recording = nullptr;

struct RecordedGraph {
  explicit RecordedGraph(cudaStream_t stream) : memory(stream) {}
  RecordedGraph(const RecordedGraph&) = delete;
  RecordedGraph& operator=(const RecordedGraph&) = delete;
  ~RecordedGraph() {
    if (executable != nullptr) static_cast<void>(cudaGraphExecDestroy(executable));
    memory.release();
  }
  GraphMemory memory;
  cudaGraphExec_t executable = nullptr;
};

}  // namespace

std::string unusable(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) return "no NVIDIA driver, or one too old for this program's CUDA 13";
  if (status == cudaErrorNoDevice) return "no NVIDIA GPU in this machine, or none that this process may see";
  if (status != cudaSuccess) return cat("CUDA does not start: ", cudaGetErrorString(status));
  if (index < 0 || index >= count) return cat("there is no GPU ", index, ", this machine has ", count);
  return {};
}

void* main_stream(int index) {
  WT_CHECK(index >= 0 && index < kMaxDevices, "GPU ", index, " is out of range");
  static std::mutex mutex;
  static std::array<cudaStream_t, kMaxDevices> streams{};
  const std::lock_guard lock(mutex);
  cudaStream_t& stream = streams[static_cast<std::size_t>(index)];
  WT_CUDA(cudaSetDevice(index));
  if (stream == nullptr) {
    WT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    // Freed memory stays with the pool: by default it goes back to the driver at every synchronisation.
    cudaMemPool_t pool = nullptr;
    WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
    std::uint64_t keep = ~std::uint64_t{0};
    WT_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  }
  return stream;
}

void synchronize(void* stream) {
  WT_CUDA(cudaStreamSynchronize(native(stream)));
}

void* allocate(std::size_t bytes, void* stream) {
  if (recording != nullptr && recording->stream() == native(stream)) return recording->take(bytes);
  void* pointer = nullptr;
  const cudaError_t status = cudaMallocAsync(&pointer, bytes, native(stream));
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // the error must not surface at the next launch
    return nullptr;
  }
  WT_CUDA(status);
  return pointer;
}

void deallocate(void* pointer, void* stream) noexcept {
  if (recording != nullptr && recording->stream() == native(stream)) return recording->give_back(pointer);
  // Fails only when the context is gone, which happens as the process ends.
  static_cast<void>(cudaFreeAsync(pointer, native(stream)));
}

void trim_pool(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  WT_CUDA(cudaDeviceSynchronize());
  WT_CUDA(cudaMemPoolTrimTo(pool, 0));
}

PoolUse pool_use(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  const auto read = [&](cudaMemPoolAttr attribute) {
    std::uint64_t bytes = 0;
    WT_CUDA(cudaMemPoolGetAttribute(pool, attribute, &bytes));
    return bytes;
  };
  return {read(cudaMemPoolAttrUsedMemCurrent), read(cudaMemPoolAttrUsedMemHigh),
          read(cudaMemPoolAttrReservedMemCurrent)};
}

void reset_pool_peak(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  std::uint64_t zero = 0;  // the only value that is taken: the peak becomes what is in use now
  WT_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &zero));
}

DeviceMemory device_memory(int index) {
  std::size_t free = 0, total = 0;
  WT_CUDA(cudaSetDevice(index));
  WT_CUDA(cudaMemGetInfo(&free, &total));
  return {free, total};
}

std::string device_name(int index) {
  cudaDeviceProp properties{};
  WT_CUDA(cudaGetDeviceProperties(&properties, index));
  return properties.name;
}

void copy(void* to, const void* from, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  // From pageable memory this returns once the bytes have been staged; to pageable memory, once they have arrived.
  WT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, native(stream)));
}

void fill_zero(void* pointer, std::size_t bytes, void* stream) {
  if (bytes > 0) WT_CUDA(cudaMemsetAsync(pointer, 0, bytes, native(stream)));
}

void* record_graph(void* stream, const std::function<void()>& work) {
  // What earlier work gives back goes to the graph's blocks, once that work is done.
  synchronize(stream);
  auto recorded = std::make_unique<RecordedGraph>(native(stream));
  WT_CUDA(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal));
  recording = &recorded->memory;
  cudaGraph_t graph = nullptr;
  const auto end = [&] {
    recording = nullptr;
    const cudaError_t status = cudaStreamEndCapture(native(stream), &graph);
    recorded->memory.finish();
    return status;
  };
  try {
    work();
  } catch (...) {
    // The stream must leave its capturing state, whatever went wrong inside.
    if (end() == cudaSuccess && graph != nullptr) cudaGraphDestroy(graph);
    static_cast<void>(cudaGetLastError());
    throw;
  }
  WT_CUDA(end());
  const cudaError_t status = cudaGraphInstantiate(&recorded->executable, graph, 0);
  cudaGraphDestroy(graph);
  WT_CUDA(status);
  WT_CHECK(recorded->memory.all_free(), "a tensor made while a graph was recorded outlived the recording");
  return recorded.release();
}

void launch_graph(void* graph, void* stream) {
  WT_CUDA(cudaGraphLaunch(static_cast<RecordedGraph*>(graph)->executable, native(stream)));
}

void destroy_graph(void* graph) noexcept {
  delete static_cast<RecordedGraph*>(graph);
}

std::shared_ptr<void> record_event(void* stream) {
  cudaEvent_t event = nullptr;
  WT_CUDA(cudaEventCreate(&event));
  std::shared_ptr<void> owned(event, [](void* e) { cudaEventDestroy(static_cast<cudaEvent_t>(e)); });
  WT_CUDA(cudaEventRecord(event, native(stream)));
  return owned;
}

double seconds_between(void* begin, void* end) {
  float milliseconds = 0;
  WT_CUDA(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)));
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace wt::cuda
