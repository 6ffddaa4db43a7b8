// Puts a simulated story together. Internal to the simulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "data/babi/stories.h"

namespace wt::babi {

// The questions every story of most tasks has, and the facts between two chances to ask one.
inline constexpr int kQuestionsPerStory = 5;
inline constexpr int kFactsPerTurn = 2;
// A thing may be asked about while its latest event is among this many last facts.
inline constexpr int kWindow = 5;

class StoryWriter {
 public:
  // For a whole story.
  StoryWriter() = default;
  // For a sample at question number `question` (from 0): the story ends there, or once the limits keep that question
  // from coming. `fact_tokens` must outlive the writer.
  StoryWriter(int question, const SampleLimits& limits, const FactTokens& fact_tokens)
      : wanted_questions_(question + 1), limits_(limits), fact_tokens_(&fact_tokens) {}

  // Returns the fact's number (from 0); questions are not counted.
  int add_fact(std::string text) {
    if (limits_.max_tokens > 0) num_tokens_ += (*fact_tokens_)(text);
    line_of_fact_.push_back(static_cast<int>(story_.lines.size()) + 1);
    story_.lines.push_back({std::move(text), {}, {}});
    return num_facts() - 1;
  }
  // `supports` are numbers of facts, in the order in which the file names them.
  void add_question(std::string text, std::string answer, const std::vector<int>& supports) {
    BabiLine line{std::move(text), std::move(answer), {}};
    for (const int fact : supports) line.supporting.push_back(line_of_fact_[static_cast<std::size_t>(fact)]);
    story_.lines.push_back(std::move(line));
    ++num_questions_;
  }
  // Whether there is another turn of kFactsPerTurn facts or more, and then perhaps a question.
  bool goes_on() const {
    const int missing = wanted_questions_ - num_questions_, facts = missing * kFactsPerTurn;
    return missing > 0 && limits_.has_room(num_facts() + facts, num_tokens_ + facts);  // a token each at least
  }
  int num_facts() const { return static_cast<int>(line_of_fact_.size()); }
  int num_questions() const { return num_questions_; }
  int window_begin() const { return std::max(0, num_facts() - kWindow); }
  bool in_window(int fact) const { return fact >= window_begin(); }
  BabiStory take() { return std::move(story_); }

 private:
  BabiStory story_;
  std::vector<int> line_of_fact_;
  int num_questions_ = 0;
  int wanted_questions_ = kQuestionsPerStory;
  SampleLimits limits_;
  const FactTokens* fact_tokens_ = nullptr;
  std::int64_t num_tokens_ = 0;  // of the facts; counted where they are limited
};

template <class Container>
const auto& pick(const Container& container, RandomStream& random) {
  return container[static_cast<std::size_t>(random.below(container.size()))];
}

// One of the last kWindow elements: who is asked about in tasks that ask about a person as often as the window tells of
// it.
template <class T>
const T& pick_recent(const std::vector<T>& elements, RandomStream& random) {
  const std::size_t count = std::min<std::size_t>(elements.size(), kWindow);
  return elements[elements.size() - 1 - static_cast<std::size_t>(random.below(count))];
}

// A number below `size` that is not among `excluded`; there must be one.
inline int pick_other(int size, std::initializer_list<int> excluded, RandomStream& random) {
  while (true) {
    const int drawn = static_cast<int>(random.below(static_cast<std::uint64_t>(size)));
    if (std::find(excluded.begin(), excluded.end(), drawn) == excluded.end()) return drawn;
  }
}

// The element with an int for its number.
template <class Container>
const auto& at(const Container& container, int number) {
  return container[static_cast<std::size_t>(number)];
}
template <class Container>
auto& at(Container& container, int number) {
  return container[static_cast<std::size_t>(number)];
}

}  // namespace wt::babi
