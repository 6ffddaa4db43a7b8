// Memory of tensors: aligned, pooled, counted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/device.h"

namespace wt {

// Bytes of tensor memory in use, and the most that was in use at once since the last reset (pool slack not counted).
struct MemoryUse {
  std::uint64_t current = 0;
  std::uint64_t peak = 0;
};

// At least `bytes` bytes, 64-byte aligned, contents undefined, from the device's pool (core/block_pool.h; on CUDA its
// stream-ordered one). Thread-safe. Throws Error where the device has no more, saying how much was asked for and how
// much is in use.
void* allocate(const Stream& stream, std::size_t bytes);
void deallocate(const Stream& stream, void* pointer, std::size_t bytes) noexcept;

MemoryUse memory_use(Device device);
void reset_peak(Device device);
// Bytes of tensors that the device can hold in all: those in use, what its pool keeps and what is free.
std::uint64_t memory_capacity(Device device);
// Gives the pool's unused blocks back to the system.
void release_pool(Device device);

}  // namespace wt
