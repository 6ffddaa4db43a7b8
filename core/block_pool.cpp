#include "core/block_pool.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace wt {
namespace {

// Below this a block is not worth asking the system how much it has.
constexpr std::size_t kLargeBlock = std::size_t{1} << 20;
// What the system and other programs should still have.
constexpr std::uint64_t kReserve = std::uint64_t{256} << 20;

}  // namespace

BlockPool::BlockPool(std::function<std::uint64_t()> free_memory) : free_memory_(std::move(free_memory)) {}

void* BlockPool::allocate(std::size_t size) {
  const std::lock_guard lock(mutex_);
  void* block = nullptr;
  if (const auto found = blocks_.find(size); found != blocks_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
    kept_ -= size;
  } else {
    // Linux promises memory that it does not have, and kills who touches it: a failing call comes too late.
    if (kept_ > 0 && size >= kLargeBlock && free_memory_() < size + kReserve) release_kept();
    block = std::aligned_alloc(kAlignment, size);
    if (block == nullptr) {
      release_kept();
      block = std::aligned_alloc(kAlignment, size);
    }
    if (block == nullptr) return nullptr;
  }
  use_.current += size;
  use_.peak = std::max(use_.peak, use_.current);
  return block;
}

void BlockPool::deallocate(void* block, std::size_t size) noexcept {
  const std::lock_guard lock(mutex_);
  use_.current -= size;
#ifdef WAVETAPE_NO_POOL
  std::free(block);
#else
  blocks_[size].push_back(block);
  kept_ += size;
#endif
}

void BlockPool::release_kept() noexcept {
  if (kept_ == 0) return;
  for (const auto& [size, blocks] : blocks_) {
    for (void* block : blocks) std::free(block);
  }
  blocks_.clear();
  kept_ = 0;
#ifdef __GLIBC__
  ::malloc_trim(0);  // blocks below glibc's own threshold would else stay with this process
#endif
}

void BlockPool::release() noexcept {
  const std::lock_guard lock(mutex_);
  release_kept();
}

MemoryUse BlockPool::use() const {
  const std::lock_guard lock(mutex_);
  return use_;
}

std::uint64_t BlockPool::kept() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

void BlockPool::reset_peak() {
  const std::lock_guard lock(mutex_);
  use_.peak = use_.current;
}

}  // namespace wt
