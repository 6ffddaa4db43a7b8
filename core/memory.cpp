#include "core/memory.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "core/block_pool.h"
#include "core/cuda.h"
#include "core/error.h"

namespace wt {
namespace {

// Sizes are rounded up so that nearly equal shapes (a shorter last segment) share blocks: to a multiple of an eighth of
// the size's power of two, so at most an eighth is wasted.
std::size_t block_size(std::size_t bytes) {
  if (bytes <= 512) return (bytes + BlockPool::kAlignment - 1) / BlockPool::kAlignment * BlockPool::kAlignment;
  const std::size_t step = (std::size_t{1} << (63 - __builtin_clzll(bytes))) / 8;
  return (bytes + step - 1) / step * step;
}

// CUDA has a stream-ordered pool of its own.
void* allocate_cuda(const Stream& stream, std::size_t size) {
  void* const block = cuda::allocate(size, stream.native());
  const int index = stream.device().index;
  const cuda::DeviceMemory memory = block == nullptr ? cuda::device_memory(index) : cuda::DeviceMemory{};
  WT_CHECK(block != nullptr, "out of memory on ", stream.device(), ": asked for ", size, " bytes with ",
           cuda::pool_use(index).current, " bytes of tensors in use and ", memory.free, " of ", memory.total,
           " bytes free; use activations: recompute, a smaller batch or shorter segments");
  return block;
}

// The number behind `key` in a file of such lines, 0 where there is none.
std::uint64_t value_in(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::uint64_t value = 0;
    if (words >> line && line == key && words >> value) return value;
  }
  return 0;
}

// What the system could give without swapping, within the container's limit (cgroup v2) where there is one.
std::uint64_t free_host_memory() {
  std::uint64_t free = value_in("/proc/meminfo", "MemAvailable:") * 1024, limit = 0, used = 0;
  std::ifstream max("/sys/fs/cgroup/memory.max"), current("/sys/fs/cgroup/memory.current");
  if (max >> limit && current >> used) {
    used -= std::min(used, value_in("/sys/fs/cgroup/memory.stat", "inactive_file"));  // cached files give way
    free = std::min(free, limit - std::min(limit, used));
  }
  return free;
}

BlockPool& pool() {
  static auto* const instance = new BlockPool(free_host_memory);  // never destroyed: static tensors may outlive it
  return *instance;
}

}  // namespace

void* allocate(const Stream& stream, std::size_t bytes) {
  const std::size_t size = block_size(bytes == 0 ? 1 : bytes);
  if (stream.device().is_cuda()) return allocate_cuda(stream, size);
  void* const block = pool().allocate(size);
  WT_CHECK(block != nullptr, "out of memory: asked for ", size, " bytes with ", pool().use().current,
           " bytes of tensors in use; use a smaller batch, shorter segments or recompute");
  return block;
}

void deallocate(const Stream& stream, void* pointer, std::size_t bytes) noexcept {
  if (pointer == nullptr) return;
  const std::size_t size = block_size(bytes == 0 ? 1 : bytes);
  if (stream.device().is_cuda()) {
    cuda::deallocate(pointer, stream.native());
    return;
  }
  pool().deallocate(pointer, size);
}

MemoryUse memory_use(Device device) {
  if (device.is_cuda()) {
    const cuda::PoolUse use = cuda::pool_use(device.index);
    return {use.current, use.peak};
  }
  return pool().use();
}

// What a pool keeps without using it is free for tensors, too.
std::uint64_t memory_capacity(Device device) {
  if (device.is_cuda()) return cuda::pool_use(device.index).held + cuda::device_memory(device.index).free;
  return pool().use().current + pool().kept() + free_host_memory();
}

void reset_peak(Device device) {
  if (device.is_cuda()) return cuda::reset_pool_peak(device.index);
  pool().reset_peak();
}

void release_pool(Device device) {
  if (device.is_cuda()) return cuda::trim_pool(device.index);
  pool().release();
}

}  // namespace wt
