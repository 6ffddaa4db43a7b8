// qa6 ... qa14: people who walk about and carry things.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/data/babi_figures.h"

namespace wt {
namespace {

using test::Figures;
using test::mean;
using test::read_stories;
using test::Shares;

constexpr std::uint64_t kStories = 4000;
const std::vector<std::string> kPlaceNames{"bathroom", "bedroom", "garden", "hallway", "kitchen", "office"};
const std::vector<std::string> kActorNames{"Mary", "John", "Daniel", "Sandra"};

// Tolerances, in points of percent unless said: about four standard deviations at 4,000 stories (20,000 questions,
// which within a story go together) and of the published 2,200.

// Five questions a story, and facts that Reader, which refuses what cannot happen, can follow.
void expect_world(int task, const std::vector<double>& kind_shares, double first_move) {
  Shares kinds, first;
  for (const BabiStory& story : simulate_stories(cat("qa", task), 17, kStories)) {
    test::Reader reader;
    for (const BabiLine& line : story.lines) {
      if (line.is_question()) continue;
      const test::Fact fact = test::read_fact(line.text);
      if (reader.facts().empty()) first.add(std::string(1, fact.kind));
      reader.read(fact);
      kinds.add(std::string(1, fact.kind));
      EXPECT_TRUE(fact.there || fact.kind != 'G') << line.text;
    }
  }
  for (std::size_t i = 0; i < kind_shares.size(); ++i) {
    EXPECT_NEAR(kinds.of(std::string(1, "MGDV"[i])), kind_shares[i], 1.1) << "MGDV"[i];
  }
  EXPECT_NEAR(first.of("M"), first_move, 3.0);
}

TEST(SimulatorPeople, Qa6) {
  const Figures f = read_stories(6, kStories);
  expect_world(6, {67.6, 21.0, 11.4, 0}, 70);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.shortest(), 10);
  EXPECT_LE(f.longest(), 30);  // 26 of 2,200 published stories
  EXPECT_NEAR(mean(f.story_facts), 10.3, 0.1);
  EXPECT_NEAR(mean(f.facts_before), 6.3, 0.1);
  EXPECT_NEAR(f.gaps.of("2"), 97.4, 0.6);
  EXPECT_NEAR(f.answers.of("yes"), 50, 1.5);
  EXPECT_EQ(mean(f.num_supports), 1);
  EXPECT_EQ(f.age.of("0") + f.age.of("1") + f.age.of("2") + f.age.of("3") + f.age.of("4"), 100);
}

TEST(SimulatorPeople, Qa7) {
  const Figures f = read_stories(7, kStories, /*minimal=*/false);
  expect_world(7, {59.6, 18.2, 9.3, 12.9}, 70);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.shortest(), 10);
  EXPECT_GE(f.longest(), 40);  // 52 of 2,200 published stories
  EXPECT_LE(f.longest(), 110);
  EXPECT_NEAR(mean(f.story_facts), 13.0, 0.3);
  EXPECT_NEAR(mean(f.facts_before), 8.7, 0.25);
  EXPECT_NEAR(f.gaps.of("2"), 87.3, 1.2);
  EXPECT_NEAR(f.answers.of("none"), 47.0, 1.8);
  EXPECT_NEAR(f.answers.of("one"), 48.7, 1.8);
  EXPECT_NEAR(f.answers.of("two"), 4.1, 0.8);
  EXPECT_NEAR(f.answers.of("three"), 0.2, 0.2);
  EXPECT_NEAR(f.repeats, 53, 2.5);
  EXPECT_EQ(*std::min_element(f.num_supports.begin(), f.num_supports.end()), 1);
}

TEST(SimulatorPeople, Qa8) {
  const Figures f = read_stories(8, kStories, /*minimal=*/false);
  expect_world(8, {66.4, 21.1, 12.6, 0}, 70);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.shortest(), 10);
  EXPECT_GE(f.longest(), 40);  // 58 of 2,200 published stories
  EXPECT_LE(f.longest(), 110);
  EXPECT_NEAR(mean(f.story_facts), 13.3, 0.3);
  EXPECT_NEAR(mean(f.facts_before), 8.8, 0.25);
  EXPECT_NEAR(f.gaps.of("2"), 85, 1.2);
  Shares sizes;
  for (const auto& [answer, count] : f.answers.counts) {
    const auto commas = std::count(answer.begin(), answer.end(), ',');
    EXPECT_EQ(answer.find(' '), std::string::npos) << answer;
    for (int i = 0; i < count; ++i) sizes.add(answer == "nothing" ? "nothing" : std::to_string(commas + 1));
  }
  EXPECT_NEAR(sizes.of("nothing"), 36, 1.8);
  EXPECT_NEAR(sizes.of("1"), 57.6, 1.8);
  EXPECT_NEAR(sizes.of("2"), 5.9, 1.0);
  EXPECT_NEAR(sizes.of("3"), 0.5, 0.4);
}

// The kind of a fact of qa9 and qa10.
std::string kind_of(const std::string& fact) {
  for (const char* kind : {"is no longer in", "is not in", "is either in", "is in"}) {
    if (fact.find(cat(" ", kind, " the ")) != std::string::npos) return kind;
  }
  return test::read_fact(fact).kind == 'M' ? "move" : "?";
}

struct Kinds {
  Shares facts;            // by kind
  Shares kind_and_answer;  // of questions
  std::function<void(const BabiSample&)> visit = [this](const BabiSample& sample) {
    for (std::size_t i = sample.facts.size() - 2; i < sample.facts.size(); ++i) facts.add(kind_of(sample.facts[i]));
    const std::string kind = kind_of(sample.facts[static_cast<std::size_t>(sample.supporting[0])]);
    kind_and_answer.add(kind + ": " + sample.answer);
  };
};

TEST(SimulatorPeople, Qa9) {
  Kinds kinds;
  const Figures f = read_stories(9, kStories, true, kinds.visit);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.facts.of("10"), 100);
  EXPECT_EQ(f.gaps.of("2"), 100);
  EXPECT_EQ(mean(f.num_supports), 1);
  EXPECT_NEAR(kinds.facts.of("move"), 50, 1.2);
  EXPECT_NEAR(kinds.facts.of("is in"), 25, 1.2);
  EXPECT_NEAR(kinds.facts.of("is no longer in"), 12.5, 1.0);
  EXPECT_NEAR(kinds.facts.of("is not in"), 12.5, 1.0);
  EXPECT_NEAR(kinds.kind_and_answer.of("move: yes"), 25, 1.5);
  EXPECT_NEAR(kinds.kind_and_answer.of("move: no"), 25, 1.5);
  EXPECT_NEAR(kinds.kind_and_answer.of("is in: yes"), 12.5, 1.2);
  EXPECT_NEAR(kinds.kind_and_answer.of("is in: no"), 12.5, 1.2);
  EXPECT_NEAR(f.answers.of("no"), 62.5, 1.6);
  EXPECT_NEAR(f.age.of("0"), 45.6, 1.8);
  EXPECT_NEAR(f.age.of("4"), 3.8, 0.8);
  EXPECT_EQ(f.age.counts.size(), 5u);
  expect_uniform(f.first_words, kActorNames, 1.2);
}

TEST(SimulatorPeople, Qa10) {
  Kinds kinds;
  const Figures f = read_stories(10, kStories, true, kinds.visit);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.facts.of("10"), 100);
  EXPECT_EQ(mean(f.num_supports), 1);
  EXPECT_NEAR(kinds.facts.of("move"), 50, 1.2);
  EXPECT_NEAR(kinds.facts.of("is in"), 25, 1.2);
  EXPECT_NEAR(kinds.facts.of("is either in"), 25, 1.2);
  EXPECT_NEAR(f.answers.of("no"), 47.5, 1.6);
  EXPECT_NEAR(f.answers.of("yes"), 37.7, 1.6);
  EXPECT_NEAR(f.answers.of("maybe"), 14.7, 1.2);
  EXPECT_NEAR(kinds.kind_and_answer.of("is either in: no"), 10.4, 1.2);
  EXPECT_EQ(f.age.counts.size(), 5u);
  expect_uniform(f.first_words, {"Bill", "Fred", "Julie", "Mary"}, 1.2);
}

TEST(SimulatorPeople, Qa11) {
  Shares continuations;
  const Figures f = read_stories(11, kStories, true, [&](const BabiSample& sample) {
    ASSERT_EQ(sample.supporting.size(), 2u);
    EXPECT_EQ(sample.supporting[0] % 2, 0);
    EXPECT_EQ(sample.supporting[1], sample.supporting[0] + 1);
    continuations.add(test::words_of(sample.facts.back())[0]);
  });
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.facts.of("10"), 100);
  EXPECT_NEAR(f.age.of("0"), 66, 1.8);
  EXPECT_NEAR(f.age.of("2"), 28, 1.8);
  EXPECT_NEAR(f.age.of("4"), 7, 1.0);
  EXPECT_NEAR(f.repeats, 39, 2.0);
  expect_uniform(f.answers, kPlaceNames, 1.5);
  expect_uniform(continuations, {"Afterwards", "Then", "After", "Following"}, 1.5);
}

TEST(SimulatorPeople, Qa12) {
  const Figures f = read_stories(12, kStories);
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.facts.of("10"), 100);
  EXPECT_EQ(mean(f.num_supports), 1);
  EXPECT_NEAR(f.age.of("0"), 72, 2.0);
  EXPECT_NEAR(f.age.of("1"), 24, 2.0);
  EXPECT_NEAR(f.age.of("2"), 4, 1.0);
  EXPECT_EQ(f.age.counts.size(), 3u);
  EXPECT_NEAR(f.repeats, 22, 2.0);
  expect_uniform(f.answers, kPlaceNames, 1.5);
  expect_uniform(f.first_words, kActorNames, 1.2);
}

TEST(SimulatorPeople, Qa13) {
  const Figures f = read_stories(13, kStories, true, [](const BabiSample& sample) {
    ASSERT_EQ(sample.supporting.size(), 2u);
    EXPECT_EQ(sample.supporting[0] % 2, 0);
    EXPECT_EQ(sample.supporting[1], sample.supporting[0] + 1);
  });
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_EQ(f.facts.of("10"), 100);
  EXPECT_NEAR(f.age.of("0"), 92, 1.2);
  EXPECT_NEAR(f.age.of("2"), 8, 1.2);
  EXPECT_NEAR(f.repeats, 23.7, 2.0);
  expect_uniform(f.answers, kPlaceNames, 1.5);
}

TEST(SimulatorPeople, Qa14) {
  Shares times, time_first, slots;
  const Figures f = read_stories(14, kStories, true, [&](const BabiSample& sample) {
    ASSERT_EQ(sample.supporting.size(), 2u);
    const std::string later = test::lower(sample.facts[static_cast<std::size_t>(sample.supporting[0])]);
    for (const char* time : {"yesterday", "morning", "afternoon", "evening"}) {
      if (later.find(time) != std::string::npos) slots.add(time);
      if (test::lower(sample.facts.back()).find(time) != std::string::npos) times.add(time);
    }
    const std::string first = test::words_of(sample.facts.back())[0];
    time_first.add(first == "This" || first == "Yesterday" ? "first" : "last");
  });
  EXPECT_EQ(f.questions.of("5"), 100);
  EXPECT_NEAR(f.facts.of("10"), 25, 3.0);
  EXPECT_NEAR(f.facts.of("12"), 65, 3.0);
  EXPECT_NEAR(f.facts.of("14"), 10, 2.0);
  EXPECT_LE(f.longest(), 14);
  EXPECT_NEAR(mean(f.story_facts), 11.7, 0.15);
  EXPECT_NEAR(mean(f.facts_before), 7.7, 0.15);
  EXPECT_NEAR(f.gaps.of("2"), 85, 1.5);
  EXPECT_NEAR(time_first.of("first"), 50, 2.0);
  EXPECT_EQ(slots.of("yesterday"), 0);
  EXPECT_NEAR(slots.of("morning"), 58.3, 2.5);
  EXPECT_NEAR(slots.of("afternoon"), 28.2, 2.5);
  EXPECT_NEAR(slots.of("evening"), 13.5, 2.0);
  EXPECT_EQ(times.counts.size(), 4u);
  expect_uniform(f.answers, {"bedroom", "cinema", "kitchen", "office", "park", "school"}, 1.5);
}

}  // namespace
}  // namespace wt
