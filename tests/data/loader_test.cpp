#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>

#include "core/random.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Batch = std::vector<std::uint64_t>;

// A batch that takes a different time each, so that workers finish out of order.
Batch make_batch(std::uint64_t index) {
  RandomStream random(3, random_stream(RandomPurpose::kTest, index));
  std::this_thread::sleep_for(std::chrono::microseconds(random.below(300)));
  return {index, random.next_u64(), random.next_u64()};
}

std::vector<Batch> first_batches(int num_threads, int batches_at_once, std::uint64_t first_index, std::size_t count) {
  Loader<Batch> loader(make_batch, {num_threads, batches_at_once, first_index});
  std::vector<Batch> batches;
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(loader.next_index(), first_index + i);
    batches.push_back(loader.next());
  }
  return batches;
}

TEST(Loader, TheStreamIsTheSameWhateverTheThreads) {
  const std::vector<Batch> expected = first_batches(0, 1, 0, 200);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(expected[i], make_batch(i));
  EXPECT_EQ(first_batches(1, 1, 0, 200), expected);
  EXPECT_EQ(first_batches(1, 4, 0, 200), expected);
  EXPECT_EQ(first_batches(4, 4, 0, 200), expected);
  EXPECT_EQ(first_batches(8, 20, 0, 200), expected);
}

TEST(Loader, GoesOnFromAnyIndex) {
  const std::vector<Batch> all = first_batches(2, 4, 0, 100);
  for (const std::size_t from : {std::size_t{1}, std::size_t{37}, std::size_t{99}}) {
    const std::vector<Batch> rest(all.begin() + static_cast<std::ptrdiff_t>(from), all.end());
    EXPECT_EQ(first_batches(3, 5, from, all.size() - from), rest);
  }
}

TEST(Loader, PreparesAheadWhatIsTakenAtOnceButNotWithoutBound) {
  // Three at least, one more for each thread, and no hundreds.
  const std::pair<LoaderOptions, std::uint64_t> cases[] = {{{2, 1, 0}, 5}, {{2, 16, 0}, 18}, {{3, 1000000, 0}, 259}};
  for (const auto& [options, expected] : cases) {
    std::atomic<std::uint64_t> made{0};
    Loader<Batch> loader(
        [&](std::uint64_t index) {
          ++made;
          return Batch{index};
        },
        options);
    const auto wait_for = [&](std::uint64_t count) {
      for (int i = 0; i < 5000 && made < count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    wait_for(expected);
    EXPECT_EQ(made, expected);  // nobody has asked yet
    loader.next();
    wait_for(expected + 1);
    EXPECT_EQ(made, expected + 1);
  }
}

TEST(Loader, EveryThreadHasABatchToMake) {
  for (const int num_threads : {1, 4, 16}) {
    std::atomic<int> working{0}, most{0};
    std::atomic<bool> waits{true};
    Loader<Batch> loader(
        [&](std::uint64_t index) {
          most = std::max(most.load(), ++working);
          // All wait for the others, as threads of a slow disk would; ten seconds are for a loader without them.
          for (int i = 0; i < 10000 && waits && most < num_threads; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
          --working;
          return Batch{index};
        },
        {num_threads, 1, 0});
    EXPECT_EQ(loader.next(), Batch{0});
    waits = false;
    EXPECT_EQ(most, num_threads);
  }
}

TEST(Loader, AnErrorComesInItsTurnAndMayBeTriedAgain) {
  for (const int num_threads : {0, 1, 3}) {
    std::atomic<int> failures{0};
    Loader<Batch> loader(
        [&](std::uint64_t index) {
          if (index == 5 && failures++ < 2) throw Error(cat("batch ", index, " cannot be made"));
          return make_batch(index);
        },
        {num_threads, 4, 0});
    for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(loader.next(), make_batch(i));
    EXPECT_ERROR(loader.next(), Error, "batch 5 cannot be made");
    EXPECT_ERROR(loader.next(), Error, "batch 5 cannot be made");
    EXPECT_EQ(loader.next_index(), 5u);
    for (std::uint64_t i = 5; i < 20; ++i) EXPECT_EQ(loader.next(), make_batch(i));
  }
}

TEST(Loader, OtherExceptionsKeepTheirType) {
  Loader<Batch> loader([](std::uint64_t) -> Batch { throw std::bad_alloc(); }, {2, 2, 0});
  EXPECT_THROW(loader.next(), std::bad_alloc);
}

TEST(Loader, EndsAtAnyMoment) {
  for (std::size_t taken = 0; taken < 30; ++taken) {
    Loader<Batch> loader(make_batch, {3, 2, 0});
    for (std::size_t i = 0; i < taken; ++i) loader.next();
  }  // the destructor joins; a deadlock would hit the test's time limit
  // With an error that nobody has fetched.
  Loader<Batch> failing([](std::uint64_t) -> Batch { throw Error("nobody asks for this"); }, {2, 2, 0});
}

TEST(Loader, MoveOnlyBatches) {
  Loader<std::unique_ptr<int>> loader(
      [](std::uint64_t index) { return std::make_unique<int>(static_cast<int>(index)); }, {2, 3, 10});
  EXPECT_EQ(*loader.next(), 10);
  EXPECT_EQ(*loader.next(), 11);
}

TEST(Loader, ImpossibleOptionsAreNamed) {
  EXPECT_ERROR((Loader<Batch>(make_batch, {-1, 4, 0})), Error, "num_threads is -1");
  EXPECT_ERROR((Loader<Batch>(make_batch, {1, 0, 0})), Error, "batches_at_once is 0");
  EXPECT_ERROR((Loader<Batch>(nullptr, {1, 1, 0})), Error, "no function");
}

}  // namespace
}  // namespace wt
