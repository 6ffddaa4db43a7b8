#include <array>
#include <chrono>
#include <mutex>

#include "core/cuda.h"
#include "core/cuda_check.h"

namespace wt::cuda {
namespace {

constexpr int kMaxDevices = 64;

cudaStream_t native(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

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
  // Fails only when the context is gone, which happens as the process ends.
  static_cast<void>(cudaFreeAsync(pointer, native(stream)));
}

void trim_pool(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  WT_CUDA(cudaDeviceSynchronize());
  WT_CUDA(cudaMemPoolTrimTo(pool, 0));
}

std::uint64_t pool_reserved(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  std::uint64_t bytes = 0;
  WT_CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &bytes));
  return bytes;
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
  WT_CUDA(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    // The stream must leave its capturing state, whatever went wrong inside.
    if (cudaStreamEndCapture(native(stream), &graph) == cudaSuccess && graph != nullptr) cudaGraphDestroy(graph);
    static_cast<void>(cudaGetLastError());
    throw;
  }
  WT_CUDA(cudaStreamEndCapture(native(stream), &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  WT_CUDA(status);
  return executable;
}

void launch_graph(void* graph, void* stream) {
  WT_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), native(stream)));
}

void destroy_graph(void* graph) noexcept {
  static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)));
}

TimeStamp time_stamp(const Stream& stream) {
  if (stream.device().is_cpu()) {
    return {nullptr, std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
  }
  cudaEvent_t event = nullptr;
  WT_CUDA(cudaEventCreate(&event));
  TimeStamp stamp{{event, [](void* e) { cudaEventDestroy(static_cast<cudaEvent_t>(e)); }}, 0};
  WT_CUDA(cudaEventRecord(event, native(stream.native())));
  return stamp;
}

double seconds_between(const TimeStamp& begin, const TimeStamp& end) {
  if (begin.event == nullptr) return end.clock - begin.clock;
  float milliseconds = 0;
  WT_CUDA(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin.event.get()),
                               static_cast<cudaEvent_t>(end.event.get())));
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace wt::cuda
