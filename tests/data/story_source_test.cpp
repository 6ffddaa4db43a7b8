#include "data/story_source.h"

#include <cmath>
#include <set>

#include "data/babi/simulator.h"
#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

const StoryFilter kAll = [](const BabiSample&) { return true; };

TEST(Permuted, IsAPermutation) {
  for (const std::uint64_t size : {1u, 2u, 3u, 10u, 255u, 256u, 257u, 1000u, 10000u}) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < size; ++i) seen.insert(permuted(5, 0, i, size));
    EXPECT_EQ(seen.size(), size);
    EXPECT_EQ(*seen.rbegin(), size - 1);
  }
  EXPECT_LT(permuted(1, 2, 3, std::uint64_t{1} << 60), std::uint64_t{1} << 60);
  EXPECT_ERROR(permuted(1, 1, 5, 5), Error, "permutation of 5 elements: index 5");
}

TEST(Permuted, EveryPlaceIsAsLikelyForEveryElement) {
  // 10 x 10 counts of 2,000 permutations, 200 each: chi-squared with 81 degrees of freedom, mean 81, deviation 12.7.
  constexpr std::uint64_t kSize = 10, kPermutations = 2000;
  std::vector<int> counts(kSize * kSize);
  for (std::uint64_t p = 0; p < kPermutations; ++p) {
    for (std::uint64_t i = 0; i < kSize; ++i) ++counts[i * kSize + permuted(9, p, i, kSize)];
  }
  const double expected = static_cast<double>(kPermutations) / kSize;
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_squared, 81 + 4 * 12.7);
  EXPECT_GT(chi_squared, 81 - 4 * 12.7);
}

class FileSource : public ::testing::Test {
 protected:
  void SetUp() override {
    // Twenty stories of one question each, told apart by their place.
    for (const char* split : {"train", "test"}) {
      std::string text;
      for (int i = 0; i < 20; ++i)
        text += cat("1 Mary went to the ", split, i, ".\n2 Where is Mary? \t", split, i, "\t1\n");
      test::put(folder_ / cat("qa1_x_", split, ".txt"), text);
    }
  }
  std::shared_ptr<const StorySource> open(Split split, double validation_share = 0.25, StoryFilter filter = kAll) {
    return open_stories({"qa1", folder_.path(), validation_share}, 7, split, std::move(filter));
  }
  static std::vector<std::string> answers(const StorySource& source, std::uint64_t begin, std::uint64_t end) {
    std::vector<std::string> out;
    for (std::uint64_t i = begin; i < end; ++i) out.push_back(source.sample(i).answer);
    return out;
  }
  TempFolder folder_;
};

TEST_F(FileSource, TestComesInOrderOverAndOver) {
  const auto source = open(Split::kTest);
  EXPECT_EQ(source->size(), 20u);
  EXPECT_EQ(answers(*source, 0, 3), (std::vector<std::string>{"test0", "test1", "test2"}));
  EXPECT_EQ(answers(*source, 20, 40), answers(*source, 0, 20));
}

TEST_F(FileSource, TrainIsShuffledEachEpochAndApartFromValidation) {
  const auto train = open(Split::kTrain), validation = open(Split::kValidation);
  EXPECT_EQ(train->size(), 15u);
  EXPECT_EQ(validation->size(), 5u);
  const std::vector<std::string> first = answers(*train, 0, 15), second = answers(*train, 15, 30);
  EXPECT_NE(first, second);
  const std::set<std::string> trained(first.begin(), first.end());
  EXPECT_EQ(trained.size(), 15u);
  EXPECT_EQ(trained, std::set<std::string>(second.begin(), second.end()));
  for (const std::string& answer : answers(*validation, 0, 5)) EXPECT_EQ(trained.count(answer), 0u) << answer;
  EXPECT_EQ(answers(*open(Split::kTrain), 0, 15), first);
  EXPECT_EQ(open(Split::kTrain, 0.0)->size(), 20u);
}

TEST_F(FileSource, WhatDoesNotFitIsLeftOut) {
  const auto source = open(Split::kTest, 0.1, [](const BabiSample& s) { return s.answer.size() == 6; });
  EXPECT_EQ(source->size(), 10u);
  EXPECT_EQ(answers(*source, 0, 2), (std::vector<std::string>{"test10", "test11"}));
  EXPECT_ERROR(open(Split::kTest, 0.1, [](const BabiSample&) { return false; }), Error, "none of 20 test samples fits");
  EXPECT_ERROR(open(Split::kValidation, 0.0), Error, "none of 0 validation samples fits");
  EXPECT_ERROR(open(Split::kTrain, 1.0), UsageError, "validation_share is 1");
  EXPECT_ERROR(open(Split::kTrain, std::nan("")), UsageError, "validation_share is");
}

TEST_F(FileSource, AFileWrittenAnewIsReadAnew) {
  const auto before = open(Split::kTest);
  test::put(folder_ / "qa1_x_test.txt", "1 Mary went to the moon.\n2 Where is Mary? \tmoon\t1\n");
  EXPECT_EQ(answers(*before, 0, 1), std::vector<std::string>{"test0"});
  EXPECT_EQ(answers(*open(Split::kTest), 0, 1), std::vector<std::string>{"moon"});
}

TEST(SimulatedSource, IsEndlessAndApartBySplit) {
  const StoryOptions options{.task = "qa2"};
  const auto train = open_stories(options, 7, Split::kTrain, kAll), test = open_stories(options, 7, Split::kTest, kAll);
  EXPECT_EQ(train->size(), 0u);
  std::set<std::size_t> lengths;
  for (std::uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(train->sample(i), open_stories(options, 7, Split::kTrain, kAll)->sample(i));
    EXPECT_NE(train->sample(i), test->sample(i));
    lengths.insert(train->sample(i).facts.size());
  }
  EXPECT_GT(lengths.size(), 10u);  // at any of a story's questions
  EXPECT_NE(train->sample((std::uint64_t{1} << 36) - 1), train->sample(0));
  EXPECT_ERROR(train->sample(std::uint64_t{1} << 36), Error, "below 2^36");
}

TEST(SimulatedSource, UnwantedStoriesAreReplaced) {
  const auto shorter = open_stories({}, 7, Split::kTrain, [](const BabiSample& s) { return s.facts.size() <= 4; });
  int fours = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::size_t facts = shorter->sample(i).facts.size();
    ASSERT_LE(facts, 4u);
    fours += facts == 4;
  }
  EXPECT_NEAR(fours, 500, 65);  // four standard deviations
  EXPECT_ERROR(open_stories({}, 7, Split::kTrain, [](const BabiSample&) { return false; })->sample(0), Error,
               "none of 1024 simulated qa1 samples fits");
  EXPECT_ERROR(open_stories({.task = "qa21"}, 7, Split::kTrain, kAll), UsageError,
               "task `qa21`, expected qa1 ... qa20");
}

}  // namespace
}  // namespace wt
