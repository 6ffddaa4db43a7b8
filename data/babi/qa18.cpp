// qa18, size reasoning: "The box fits inside the chest." ... "Does the chocolate fit in the chest?"
#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

// The first two are always the smallest, in this order.
constexpr std::array<std::string_view, 6> kThings{"chocolate", "box of chocolates", "box",
                                                  "chest",     "suitcase",          "container"};
constexpr int kFactsPerBlock = 5;
// A few published stories break off their questions for another block of facts, and then ask five more.
constexpr double kBreakRate = 0.017;
// How often a question is about the same two things as the one before, beyond what chance makes; measured.
constexpr double kSamePairRate = 0.36;

// "small fits inside big": numbers in the order of size.
struct Fit {
  int small = 0, big = 0;
  int fact = 0;
};
// Two facts that show how `small` and `big` compare.
struct Chain {
  Fit lower, upper;
};

class SizeStory {
 public:
  SizeStory(RandomStream& random, StoryWriter& story)
      : random_(random), story_(story), things_(kThings.begin(), kThings.end()) {
    std::vector<std::string_view> large(things_.begin() + 2, things_.end());
    random_.shuffle(large);
    std::copy(large.begin(), large.end(), things_.begin() + 2);
  }

  void tell_block() {
    for (int i = 0; i < kFactsPerBlock; ++i) {
      const int one = static_cast<int>(random_.below(things_.size()));
      const int other = pick_other(static_cast<int>(things_.size()), {one}, random_);
      const int small = std::min(one, other), big = std::max(one, other);
      const int fact = story_.add_fact(
          random_.bernoulli(0.5) ? cat("The ", at(things_, small), " fits inside the ", at(things_, big), ".")
                                 : cat("The ", at(things_, big), " is bigger than the ", at(things_, small), "."));
      // What is said again is known from the first time.
      if (known_.insert({small, big}).second) fits_.push_back({small, big, fact});
    }
  }

  std::vector<Chain> chains() const {
    std::vector<Chain> found;
    for (const Fit& lower : fits_) {
      for (const Fit& upper : fits_) {
        if (lower.big == upper.small) found.push_back({lower, upper});
      }
    }
    return found;
  }

  void ask() {
    if (!asked_ || !random_.bernoulli(kSamePairRate)) asked_ = pick(chains(), random_);
    const Chain& chain = *asked_;
    const bool yes = random_.bernoulli(0.5);
    // "Is the first bigger than the second?", and "Does the second fit in the first?"
    const std::string_view small = at(things_, chain.lower.small), big = at(things_, chain.upper.big);
    const std::string_view first = yes ? big : small, second = yes ? small : big;
    const std::vector<int> supports = yes ? std::vector<int>{chain.upper.fact, chain.lower.fact}
                                          : std::vector<int>{chain.lower.fact, chain.upper.fact};
    story_.add_question(random_.bernoulli(0.5) ? cat("Is the ", first, " bigger than the ", second, "?")
                                               : cat("Does the ", second, " fit in the ", first, "?"),
                        yes ? "yes" : "no", supports);
  }

 private:
  RandomStream& random_;
  StoryWriter& story_;
  std::vector<std::string_view> things_;
  std::set<std::pair<int, int>> known_;
  std::vector<Fit> fits_;
  std::optional<Chain> asked_;  // last
};

}  // namespace

void simulate_qa18(RandomStream& random, StoryWriter& writer) {
  SizeStory story(random, writer);
  do {
    story.tell_block();
  } while (story.chains().empty());
  if (random.bernoulli(kBreakRate)) {
    const std::uint64_t before = 3 + random.below(2);
    for (std::uint64_t i = 0; i < before; ++i) story.ask();
    story.tell_block();
  }
  for (int i = 0; i < kQuestionsPerStory; ++i) story.ask();
}

}  // namespace wt::babi
