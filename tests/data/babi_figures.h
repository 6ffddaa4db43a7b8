// Lets the independent solver read a task's simulated stories, and collects the figures the published files are
// described by.
#pragma once

#include <algorithm>
#include <functional>

#include "data/babi/simulator.h"
#include "tests/data/babi_shares.h"
#include "tests/data/babi_solver.h"

namespace wt::test {

struct Figures {
  std::vector<int> story_facts, story_questions, facts_before, num_supports;
  Shares facts, questions;  // per story: how many of each
  Shares gaps, answers;     // per question
  Shares age;               // facts behind the last supporting one
  Shares first_words;       // of facts
  double repeats = 0;       // questions that are the one before again, in percent
  int shortest() const { return *std::min_element(story_facts.begin(), story_facts.end()); }
  int longest() const { return *std::max_element(story_facts.begin(), story_facts.end()); }
};

inline std::vector<std::string> without(std::vector<std::string> texts, std::size_t index) {
  texts.erase(texts.begin() + static_cast<std::ptrdiff_t>(index));
  return texts;
}

// What the solver makes of some facts, "" also where they make no sense together.
inline std::string try_solve(int task, const std::vector<std::string>& facts, const std::string& question) {
  try {
    return solve(task, facts, question);
  } catch (const Error&) {
    return "";
  }
}

// Every answer must follow from all facts so far, and from the supporting ones alone; where `minimal`, from none fewer.
template <class Visit>
Figures read_stories(int task, std::uint64_t num_stories, bool minimal, Visit&& visit) {
  Figures f;
  int questions = 0, repeats = 0, wrong = 0, insufficient = 0, superfluous = 0;
  for (const BabiStory& story : simulate_stories(cat("qa", task), 17, num_stories)) {
    int facts = 0, last = 0, asked = 0;
    std::string previous;
    for (const BabiLine& line : story.lines) {
      if (!line.is_question()) {
        ++facts;
        f.first_words.add(words_of(line.text)[0]);
        continue;
      }
      const BabiSample sample = babi_sample(story, asked++);
      wrong += try_solve(task, sample.facts, sample.question) != sample.answer;
      // In the story's order, as a reader meets them.
      std::vector<int> in_order = sample.supporting;
      std::sort(in_order.begin(), in_order.end());
      std::vector<std::string> supports;
      for (const int support : in_order) supports.push_back(sample.facts[static_cast<std::size_t>(support)]);
      insufficient += try_solve(task, supports, sample.question) != sample.answer;
      for (std::size_t i = 0; minimal && i < supports.size(); ++i) {
        superfluous += try_solve(task, without(supports, i), sample.question) == sample.answer;
      }
      ++questions;
      repeats += line.text == previous;
      previous = line.text;
      f.facts_before.push_back(facts);
      f.gaps.add(std::to_string(facts - last));
      last = facts;
      f.answers.add(line.answer);
      f.num_supports.push_back(static_cast<int>(supports.size()));
      f.age.add(std::to_string(facts - 1 - in_order.back()));
      visit(sample);
    }
    f.story_facts.push_back(facts);
    f.story_questions.push_back(asked);
    f.facts.add(std::to_string(facts));
    f.questions.add(std::to_string(asked));
  }
  EXPECT_EQ(wrong, 0) << "answers that do not follow";
  EXPECT_EQ(insufficient, 0) << "supporting facts that do not suffice";
  EXPECT_EQ(superfluous, 0) << "supporting facts that are not needed";
  f.repeats = 100.0 * repeats / questions;
  return f;
}

inline Figures read_stories(int task, std::uint64_t num_stories, bool minimal = true) {
  return read_stories(task, num_stories, minimal, [](const BabiSample&) {});
}

}  // namespace wt::test
