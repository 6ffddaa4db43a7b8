#include "core/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/cuda.h"
#include "core/error.h"

namespace wt {
namespace {

constexpr std::size_t kAlignment = 64;

// Sizes are rounded up so that nearly equal shapes (a shorter last segment) share blocks: to a multiple of an eighth of
// the size's power of two, so at most an eighth is wasted.
std::size_t block_size(std::size_t bytes) {
  if (bytes <= 512) return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t step = (std::size_t{1} << (63 - __builtin_clzll(bytes))) / 8;
  return (bytes + step - 1) / step * step;
}

// CUDA has a stream-ordered pool of its own.
void* allocate_cuda(const Stream& stream, std::size_t size) {
  void* block = cuda::allocate(size, stream.native());
  if (block != nullptr) return block;
  const int index = stream.device().index;
  cuda::trim_pool(index);
  block = cuda::allocate(size, stream.native());
  const cuda::DeviceMemory memory = block == nullptr ? cuda::device_memory(index) : cuda::DeviceMemory{};
  WT_CHECK(block != nullptr, "out of memory on ", stream.device(), ": asked for ", size, " bytes with ",
           cuda::pool_use(index).current, " bytes of tensors in use and ", memory.free, " of ", memory.total,
           " bytes free; use activations: recompute, a smaller batch or shorter segments");
  return block;
}

struct Pool {
  std::mutex mutex;
  MemoryUse use;
  std::unordered_map<std::size_t, std::vector<void*>> free_blocks;

  void release() {
    for (auto& [size, blocks] : free_blocks) {
      for (void* block : blocks) std::free(block);
    }
    free_blocks.clear();
  }
};

Pool& pool() {
  static Pool* const instance = new Pool;  // never destroyed: tensors with static lifetime may outlive it
  return *instance;
}

}  // namespace

void* allocate(const Stream& stream, std::size_t bytes) {
  const std::size_t size = block_size(bytes == 0 ? 1 : bytes);
  if (stream.device().is_cuda()) return allocate_cuda(stream, size);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  void* block = nullptr;
#ifndef WAVETAPE_NO_POOL
  if (auto& blocks = p.free_blocks[size]; !blocks.empty()) {
    block = blocks.back();
    blocks.pop_back();
  }
#endif
  if (block == nullptr) {
    block = std::aligned_alloc(kAlignment, size);
    if (block == nullptr) {
      p.release();
      block = std::aligned_alloc(kAlignment, size);
    }
    WT_CHECK(block != nullptr, "out of memory: asked for ", size, " bytes with ", p.use.current,
             " bytes of tensors in use; use a smaller batch, shorter segments or recompute");
  }
  p.use.current += size;
  if (p.use.current > p.use.peak) p.use.peak = p.use.current;
  return block;
}

void deallocate(const Stream& stream, void* pointer, std::size_t bytes) noexcept {
  if (pointer == nullptr) return;
  const std::size_t size = block_size(bytes == 0 ? 1 : bytes);
  if (stream.device().is_cuda()) {
    cuda::deallocate(pointer, stream.native());
    return;
  }
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.use.current -= size;
#ifdef WAVETAPE_NO_POOL
  std::free(pointer);
#else
  p.free_blocks[size].push_back(pointer);
#endif
}

MemoryUse memory_use(Device device) {
  if (device.is_cuda()) {
    const cuda::PoolUse use = cuda::pool_use(device.index);
    return {use.current, use.peak};
  }
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  return p.use;
}

std::uint64_t memory_capacity(Device device) {
  if (device.is_cuda()) {
    // What the pool holds without using it is free for tensors, too.
    return cuda::pool_use(device.index).held + cuda::device_memory(device.index).free;
  }
  const long pages = ::sysconf(_SC_AVPHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  return memory_use(device).current +
         static_cast<std::uint64_t>(std::max(pages, 0L)) * static_cast<std::uint64_t>(page);
}

void reset_peak(Device device) {
  if (device.is_cuda()) return cuda::reset_pool_peak(device.index);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.use.peak = p.use.current;
}

void release_pool(Device device) {
  if (device.is_cuda()) return cuda::trim_pool(device.index);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.release();
}

}  // namespace wt
