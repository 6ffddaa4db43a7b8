#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>

#include "core/cuda.h"
#include "core/cuda_check.h"
#include "core/graph_cuda.h"
#include "core/staging_cuda.h"

namespace wt::cuda {
namespace {

constexpr int kMaxDevices = 64;

std::array<std::atomic<cudaStream_t>, kMaxDevices> main_streams{};
// Whether a device but the first, which is every thread's to begin with, is in use.
std::atomic<bool> other_devices{false};

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
  const std::lock_guard lock(mutex);
  use_device(index);
  cudaStream_t stream = main_streams[static_cast<std::size_t>(index)];
  if (stream == nullptr) {
    static_cast<void>(fault_word());  // made now: not while a graph is recorded
    WT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    // Freed memory stays with the pool: by default it goes back to the driver at every synchronisation.
    cudaMemPool_t pool = nullptr;
    WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
    std::uint64_t keep = ~std::uint64_t{0};
    WT_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    main_streams[static_cast<std::size_t>(index)] = stream;
  }
  return stream;
}

void use_device(int index) {
  if (index != 0) other_devices = true;
  if (other_devices) WT_CUDA(cudaSetDevice(index));
}

int device_of(void* stream) {
  // The runtime does not say while the stream is recorded.
  const auto found = std::find(main_streams.begin(), main_streams.end(), native(stream));
  if (found != main_streams.end()) return static_cast<int>(found - main_streams.begin());
  int index = 0;
  WT_CUDA(cudaStreamGetDevice(native(stream), &index));
  return index;
}

void use_device_of(void* stream) {
  if (other_devices) use_device(device_of(stream));
}

std::int32_t* fault_word() {
  static std::int32_t* const word = [] {
    void* pointer = nullptr;
    // Pinned host memory, which every device sees at the same address.
    WT_CUDA(cudaHostAlloc(&pointer, sizeof(std::int32_t), cudaHostAllocPortable | cudaHostAllocMapped));
    return new (pointer) std::int32_t{0};
  }();
  return word;
}

void synchronize(void* stream) {
  WT_CUDA(cudaStreamSynchronize(native(stream)));
  const auto fault = static_cast<Fault>(std::atomic_ref(*fault_word()).exchange(0));
  WT_CHECK(fault == Fault::kNone, text_of(fault), " (found on the GPU by work before this wait)");
}

void* allocate(std::size_t bytes, void* stream) {
  if (is_recorded(stream)) return take_recorded(bytes, stream);
  use_device_of(stream);
  void* pointer = nullptr;
  cudaError_t status = cudaMallocAsync(&pointer, bytes, native(stream));
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    trim_pool(device_of(stream));
    status = cudaMallocAsync(&pointer, bytes, native(stream));
  }
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  WT_CUDA(status);
  return pointer;
}

void deallocate(void* pointer, void* stream) noexcept {
  if (give_back_recorded(pointer, stream)) return;
  // Fails only when the context is gone, which happens as the process ends.
  if (other_devices) static_cast<void>(cudaSetDevice(device_of(stream)));
  static_cast<void>(cudaFreeAsync(pointer, native(stream)));
}

void trim_pool(int index) {
  cudaMemPool_t pool = nullptr;
  WT_CUDA(cudaDeviceGetDefaultMemPool(&pool, index));
  // Not for the device: that would end what another thread records in another stream.
  WT_CUDA(cudaStreamSynchronize(native(main_stream(index))));
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
  const AnyTimeCalls allowed;
  use_device(index);
  WT_CUDA(cudaMemGetInfo(&free, &total));
  return {free, total};
}

std::string device_name(int index) {
  cudaDeviceProp properties{};
  WT_CUDA(cudaGetDeviceProperties(&properties, index));
  return properties.name;
}

void copy(void* to, bool to_host, const void* from, bool from_host, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  use_device_of(stream);
  WT_CHECK(!(from_host || to_host) || !is_recorded(stream), "a copy from or to host memory while a graph is recorded");
  if (from_host) return upload(to, from, bytes, stream);
  WT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, native(stream)));
  if (to_host) synchronize(stream);
}

void fill_zero(void* pointer, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  use_device_of(stream);
  WT_CUDA(cudaMemsetAsync(pointer, 0, bytes, native(stream)));
}

std::shared_ptr<void> record_event(void* stream) {
  cudaEvent_t event = nullptr;
  use_device_of(stream);
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
