#include "data/story_source.h"

#include <sys/resource.h>

#include <cmath>
#include <ctime>
#include <optional>
#include <set>

#include "data/babi/simulator.h"
#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

StoryEncoder encoder() {
  const Tokenizer& tokenizer = test::shipped_tokenizer();
  return {tokenizer, QuestionStyle::kProse, find_separator(tokenizer), find_end_token(tokenizer)};
}

std::shared_ptr<const StorySource> simulated(const std::string& task, const SampleLimits& limits,
                                             Split split = Split::kTrain) {
  return open_stories({.task = task}, 7, split, limits, encoder());
}

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
  std::shared_ptr<const StorySource> open(Split split, double validation_share = 0.25,
                                          const SampleLimits& limits = {}) {
    return open_stories({"qa1", folder_.path(), validation_share}, 7, split, limits, encoder());
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
  // The second story has two facts at its second question.
  test::put(folder_ / "qa1_x_test.txt",
            "1 Mary went to the hall.\n2 Where is Mary? \thall\t1\n"
            "1 Mary went to the moon.\n2 Where is Mary? \tmoon\t1\n"
            "3 Mary went to the very dark side of the moon.\n4 Where is Mary? \tside\t3\n");
  EXPECT_EQ(answers(*open(Split::kTest), 0, 3), (std::vector<std::string>{"hall", "moon", "side"}));
  const auto one = open(Split::kTest, 0.1, {.max_facts = 1}), two = open(Split::kTest, 0.1, {.min_facts = 2});
  EXPECT_EQ(answers(*one, 0, one->size()), (std::vector<std::string>{"hall", "moon"}));
  EXPECT_EQ(answers(*two, 0, two->size()), std::vector<std::string>{"side"});
  EXPECT_DOUBLE_EQ(one->accepted_share(), 2.0 / 3);
  // To the token.
  const std::int64_t tokens = encoder().size(open(Split::kTest)->sample(2));
  EXPECT_EQ(open(Split::kTest, 0.1, {.max_tokens = tokens})->size(), 3u);
  EXPECT_EQ(open(Split::kTest, 0.1, {.max_tokens = tokens - 1})->size(), 2u);
  EXPECT_ERROR(
      open(Split::kTest, 0.1, {.min_facts = 3, .max_facts = 5, .max_tokens = 7}), UnfitStories,
      "qa1_x_test.txt: none of 3 test samples fits: 3 to 5 facts and at most 7 tokens are asked for, they have "
      "1 to 2 facts and ");
  EXPECT_ERROR(open(Split::kTest, 0.1, {.min_facts = 3}), UnfitStories, "at least 3 facts are asked for");
  EXPECT_ERROR(open(Split::kValidation, 0.0), UnfitStories,
               "none of 0 validation samples fits: this part of the file has no story");
  EXPECT_ERROR(open(Split::kTrain, 1.0), UsageError, "validation_share is 1");
  EXPECT_ERROR(open(Split::kTrain, std::nan("")), UsageError, "validation_share is");
}

TEST_F(FileSource, MemoryGrowsWithTheStoryAndNotWithItsSquare) {
  std::string text;
  constexpr int kQuestions = 8000;
  for (int i = 0; i < kQuestions; ++i) {
    text +=
        cat(2 * i + 1, " Mary went to room ", i, ".\n", 2 * i + 2, " Where is Mary? \troom", i, "\t", 2 * i + 1, "\n");
  }
  test::put(folder_ / "qa1_x_test.txt", text);  // 0.4 MB; every question with its facts would take 3 GB
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const auto source = open(Split::kTest, 0.1, {.max_facts = kQuestions});
  EXPECT_EQ(source->size(), static_cast<std::uint64_t>(kQuestions));
  EXPECT_EQ(source->sample(kQuestions - 1).facts.size(), static_cast<std::size_t>(kQuestions));
  EXPECT_EQ(source->sample(3).answer, "room3");
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 100 * 1024);  // KiB
}

TEST_F(FileSource, LinesAreTokenisedOnceForEverySource) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += cat("1 Mary went to the room of number ", i, ".\n2 Where is Mary? \troom", i, "\t1\n");
  }
  test::put(folder_ / "qa1_x_test.txt", text);
  const auto processor_time = [&](std::int64_t tokens) {
    const std::clock_t start = std::clock();
    const auto source = open(Split::kTest, 0.1, {.max_tokens = tokens});
    EXPECT_EQ(source->size(), 3000u);
    return static_cast<double>(std::clock() - start);
  };
  const auto first = open(Split::kTest);  // keeps the text
  const double once = processor_time(100);
  double others = 0;
  for (int i = 1; i <= 50; ++i) others += processor_time(100 + i);
  EXPECT_LT(others, 25 * once);
}

TEST_F(FileSource, AFileWrittenAnewIsReadAnew) {
  const auto before = open(Split::kTest);
  test::put(folder_ / "qa1_x_test.txt", "1 Mary went to the moon.\n2 Where is Mary? \tmoon\t1\n");
  EXPECT_EQ(answers(*before, 0, 1), std::vector<std::string>{"test0"});
  EXPECT_EQ(answers(*open(Split::kTest), 0, 1), std::vector<std::string>{"moon"});
}

TEST(SimulatedSource, IsEndlessAndApartBySplit) {
  const auto train = simulated("qa2", {}), test = simulated("qa2", {}, Split::kTest);
  EXPECT_EQ(train->size(), 0u);
  EXPECT_EQ(train->accepted_share(), 1.0);
  std::set<std::size_t> lengths;
  for (std::uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(train->sample(i), simulated("qa2", {})->sample(i));
    EXPECT_NE(train->sample(i), test->sample(i));
    lengths.insert(train->sample(i).facts.size());
  }
  EXPECT_GT(lengths.size(), 10u);  // at any of a story's questions
  EXPECT_NE(train->sample((std::uint64_t{1} << 36) - 1), train->sample(0));
  EXPECT_ERROR(train->sample(std::uint64_t{1} << 36), Error, "below 2^36");
}

TEST(SimulatedSource, UnwantedStoriesAreReplaced) {
  const auto shorter = simulated("qa1", {.max_facts = 4});
  int fours = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::size_t facts = shorter->sample(i).facts.size();
    ASSERT_LE(facts, 4u);
    fours += facts == 4;
  }
  EXPECT_NEAR(fours, 500, 65);  // four standard deviations
  EXPECT_NEAR(shorter->accepted_share(), 0.4, 0.3);
  EXPECT_ERROR(simulated("qa21", {}), UsageError, "task `qa21`, expected qa1 ... qa20");
}

// Making less of a story must not change which samples are taken, or how often.
TEST(SimulatedSource, LimitsOnlyLeaveSamplesOut) {
  const StoryEncoder encode = encoder();
  const FactTokens fact_tokens = [&](const std::string& fact) {
    return static_cast<std::int64_t>(encode.fact(fact).size());
  };
  for (int task = 1; task <= kNumBabiTasks; ++task) {
    int taken = 0, left = 0;
    for (std::uint64_t i = 0; i < 150; ++i) {
      const auto streams = [&] {
        return std::pair{data_stream(7, DataPurpose::kStory, Split::kTrain, task, i),
                         data_stream(7, DataPurpose::kOrder, Split::kTrain, task, i)};
      };
      auto [story_stream, question_stream] = streams();
      const BabiStory story = simulate_story(cat("qa", task), 7, i);
      const auto num_questions = static_cast<std::uint64_t>(story.num_questions());
      const BabiSample whole = babi_sample(story, static_cast<int>(question_stream.below(num_questions)));
      const auto facts = static_cast<std::int64_t>(whole.facts.size());
      std::int64_t tokens = 0;
      for (const std::string& fact : whole.facts) tokens += fact_tokens(fact);
      for (const SampleLimits& limits :
           {SampleLimits{}, SampleLimits{.max_facts = 4}, SampleLimits{.min_facts = 5, .max_facts = 20},
            SampleLimits{.max_tokens = 30}, SampleLimits{.min_facts = 3, .max_facts = 40, .max_tokens = 150}}) {
        auto [s, q] = streams();
        const std::optional<BabiSample> sample = simulate_sample(task, s, q, limits, fact_tokens);
        // Too many tokens may have gone unnoticed so far.
        ASSERT_TRUE(sample || !limits.allow(facts, tokens)) << "qa" << task << " " << i;
        ASSERT_TRUE(!sample || limits.allow(facts, facts)) << "qa" << task << " " << i;
        if (sample) {
          ASSERT_EQ(*sample, whole);
        }
        ++(sample ? taken : left);
      }
    }
    EXPECT_GT(taken, 150) << "qa" << task;
    EXPECT_GT(left, 0) << "qa" << task;
  }
}

TEST(SimulatedSource, RareSamplesAreDrawnHoweverLongItTakes) {
  // About one story in two hundred: with a thousand tries for each, two of these samples would find none.
  const auto rare = simulated("qa3", {.min_facts = 4, .max_facts = 4});
  EXPECT_GT(rare->accepted_share(), 0.002);
  EXPECT_LT(rare->accepted_share(), 0.01);
  std::set<std::string> first_facts;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const BabiSample sample = rare->sample(i);
    ASSERT_EQ(sample.facts.size(), 4u);
    first_facts.insert(sample.facts[0]);
  }
  EXPECT_GT(first_facts.size(), 30u);
  EXPECT_EQ(simulated("qa3", {.min_facts = 4, .max_facts = 4})->sample(299), rare->sample(299));
}

TEST(SimulatedSource, WhatHardlyEverFitsIsRefusedAtOnce) {
  EXPECT_ERROR(simulated("qa3", {.max_facts = 3}), UnfitStories,
               "none of 131072 simulated qa3 samples fits: at most 3 facts are asked for, they have ");
  EXPECT_ERROR(simulated("qa1", {.min_facts = 11}), UnfitStories,
               "none of 131072 simulated qa1 samples fits: at least 11 facts are asked for, they have 2 to 10 facts");
  EXPECT_ERROR(simulated("qa2", {.min_facts = 3, .max_facts = 3}), UnfitStories, "3 facts are asked for");
  EXPECT_ERROR(simulated("qa20", {.max_tokens = 5}), UnfitStories, "at most 5 tokens are asked for, they have ");
}

}  // namespace
}  // namespace wt
