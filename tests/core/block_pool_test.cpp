#include "core/block_pool.h"

#include <gtest/gtest.h>

namespace wt {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(BlockPool, CountsWhatIsInUse) {
  BlockPool pool([] { return std::uint64_t{1} << 40; });
  void* a = pool.allocate(2 * kMiB);
  void* b = pool.allocate(64);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % BlockPool::kAlignment, 0u);
  EXPECT_EQ(pool.use().current, 2 * kMiB + 64);
  pool.deallocate(a, 2 * kMiB);
  EXPECT_EQ(pool.use().current, 64u);
  EXPECT_EQ(pool.use().peak, 2 * kMiB + 64);
  pool.reset_peak();
  EXPECT_EQ(pool.use().peak, 64u);
  pool.deallocate(b, 64);
}

TEST(BlockPool, ReturnsNothingWhereTheSystemHasNoMore) {
  BlockPool pool([] { return std::uint64_t{1} << 40; });
  EXPECT_EQ(pool.allocate(std::size_t{1} << 60), nullptr);
  EXPECT_EQ(pool.use().current, 0u);
}

#ifndef WAVETAPE_NO_POOL
TEST(BlockPool, KeepsFreedBlocksForTheirSize) {
  BlockPool pool([] { return std::uint64_t{1} << 40; });
  void* a = pool.allocate(2 * kMiB);
  pool.deallocate(a, 2 * kMiB);
  EXPECT_EQ(pool.kept(), 2 * kMiB);
  void* other = pool.allocate(3 * kMiB);
  EXPECT_EQ(pool.kept(), 2 * kMiB);
  EXPECT_EQ(pool.allocate(2 * kMiB), a);
  EXPECT_EQ(pool.kept(), 0u);
  pool.deallocate(a, 2 * kMiB);
  pool.deallocate(other, 3 * kMiB);
  EXPECT_EQ(pool.kept(), 5 * kMiB);
  pool.release();
  EXPECT_EQ(pool.kept(), 0u);
}

TEST(BlockPool, GivesKeptBlocksBackWhereTheSystemIsShort) {
  std::uint64_t free = std::uint64_t{1} << 40;
  int asked = 0;
  BlockPool pool([&] {
    ++asked;
    return free;
  });
  pool.deallocate(pool.allocate(8 * kMiB), 8 * kMiB);
  EXPECT_EQ(asked, 0) << "nothing was kept that could be given back";
  free = 2 * kMiB;
  void* small = pool.allocate(64);
  EXPECT_EQ(asked, 0) << "asking costs more than a small block";
  EXPECT_EQ(pool.kept(), 8 * kMiB);
  void* same = pool.allocate(8 * kMiB);
  EXPECT_EQ(asked, 0) << "a kept block costs the system nothing";
  pool.deallocate(same, 8 * kMiB);
  void* large = pool.allocate(4 * kMiB);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(pool.kept(), 0u);
  pool.deallocate(small, 64);
  pool.deallocate(large, 4 * kMiB);
}

// `activations: auto` would else compute again what there is room for, from the second step on.
TEST(BlockPool, WhatIsKeptCountsAsCapacity) {
  constexpr std::size_t kSize = 1024 * kMiB;  // never touched; far above what other programs take meanwhile
  const std::uint64_t before = memory_capacity({});
  deallocate({}, allocate({}, kSize), kSize);
  EXPECT_GT(memory_capacity({}), before + kSize / 2);
  release_pool({});
}
#endif

}  // namespace
}  // namespace wt
