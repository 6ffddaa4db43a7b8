#include "train/run/task_mixture.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

TEST(TaskMixture, RanksCountEachTasksSamples) {
  const TaskMixture mixture({1, 0.001, 2, 0, 0.5}, 3);
  for (const Split split : {Split::kTrain, Split::kValidation}) {
    std::vector<std::uint64_t> seen(5);
    for (std::uint64_t i = 0; i < 64 * 300; ++i) {
      ASSERT_EQ(mixture.counts(split, i), seen) << i;
      const auto [task, rank] = mixture.at(split, i);
      ASSERT_EQ(rank, seen[task]++) << i;
    }
    // As the weights say, to a sample or two.
    EXPECT_NEAR(static_cast<double>(seen[0]), 19200 / 3.501, 2);
    EXPECT_NEAR(static_cast<double>(seen[1]), 19.2 / 3.501, 2);
    EXPECT_NEAR(static_cast<double>(seen[2]), 38400 / 3.501, 2);
    EXPECT_EQ(seen[3], 0u);
    EXPECT_NEAR(static_cast<double>(seen[4]), 9600 / 3.501, 2);
  }
}

TEST(TaskMixture, TheOrderIsDrawn) {
  const TaskMixture one({1, 1}, 3), same({2, 2}, 3), other({1, 1}, 4);
  int differ = 0, between_splits = 0;
  std::map<std::size_t, int> runs;  // of one task, by length
  std::size_t run = 1;
  for (std::uint64_t i = 0; i < 6400; ++i) {
    const std::size_t task = one.at(Split::kTrain, i).task;
    EXPECT_EQ(task, same.at(Split::kTrain, i).task);
    differ += task != other.at(Split::kTrain, i).task;
    between_splits += task != one.at(Split::kValidation, i).task;
    if (i == 0) continue;
    if (task == one.at(Split::kTrain, i - 1).task) {
      ++run;
      continue;
    }
    ++runs[run];
    run = 1;
  }
  EXPECT_NEAR(differ, 3200, 160);
  EXPECT_NEAR(between_splits, 3200, 160);
  // Half of the runs of a fair coin have one element, a quarter two; blocks of 64 make that hardly less.
  EXPECT_NEAR(runs[1], 1600, 160);
  EXPECT_NEAR(runs[2], 800, 120);
}

TEST(TaskMixture, OneTaskHasEverySample) {
  const TaskMixture mixture({0.3}, 3);
  for (const std::uint64_t i : {0ull, 7ull, 1ull << 35}) {
    EXPECT_EQ(mixture.at(Split::kTrain, i).task, 0u);
    EXPECT_EQ(mixture.at(Split::kTrain, i).rank, i);
  }
  const TaskMixture far({1, 1e-6, 3}, 3);  // far out the counts are still right
  const std::uint64_t sample = (1ull << 36) - 1;
  const auto [task, rank] = far.at(Split::kTrain, sample);
  EXPECT_EQ(rank + 1, far.counts(Split::kTrain, sample + 1)[task]);
  EXPECT_ERROR(TaskMixture({0, 0}, 3), Error, "the weights' sum is 0");
}

}  // namespace
}  // namespace wt
