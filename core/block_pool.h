// Blocks of host memory, kept by size when they are freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/memory.h"

namespace wt {

// The same shapes come back every wave, and fresh pages from the system cost more than the arithmetic on them, so a
// freed block waits for the next caller of its size. Thread-safe. Sanitizer builds keep nothing (WAVETAPE_NO_POOL).
class BlockPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  // free_memory() tells how many bytes the system could give now.
  explicit BlockPool(std::function<std::uint64_t()> free_memory);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() { release(); }

  // A block of `size` bytes, a multiple of 64. Where the system runs short, kept blocks of other sizes go back to it
  // first. nullptr where it has no more.
  void* allocate(std::size_t size);
  void deallocate(void* block, std::size_t size) noexcept;
  // Gives all kept blocks back to the system.
  void release() noexcept;

  MemoryUse use() const;
  std::uint64_t kept() const;  // bytes of freed blocks that wait here
  void reset_peak();

 private:
  void release_kept() noexcept;

  const std::function<std::uint64_t()> free_memory_;
  mutable std::mutex mutex_;
  MemoryUse use_;
  std::uint64_t kept_ = 0;
  std::unordered_map<std::size_t, std::vector<void*>> blocks_;
};

}  // namespace wt
