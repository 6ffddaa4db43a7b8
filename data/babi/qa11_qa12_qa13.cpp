// qa11, basic coreference: "Mary went to the office." "Then she moved to the garden." ... "Where is Mary? "
// qa12, conjunction: "Mary and John went to the office."
// qa13, compound coreference: "Mary and John went to the office." "Then they moved to the garden."
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

constexpr std::array<std::string_view, 4> kContinuations{"Afterwards", "Then", "After that", "Following that"};

std::string_view pronoun(std::string_view actor) {
  return actor == "Mary" || actor == "Sandra" ? "she" : "he";
}

// Walks of one actor, or of two together. With `goes_on` a turn is one walk in two steps, the second told with a
// pronoun; else it is two walks.
void simulate_walks(bool together, bool goes_on, RandomStream& random, StoryWriter& story) {
  struct Walker {
    int place = -1;
    std::vector<int> facts;  // that tell where it is
  };
  constexpr int kNumPlaces = static_cast<int>(kPlaces.size()), kNumActors = static_cast<int>(kActors.size());
  std::array<Walker, kActors.size()> walkers;
  std::vector<int> told;  // every step of every actor, so that a fact about two stands for two
  const auto step = [&](int first, int second, const std::string& who, bool is_first) {
    Walker &one = at(walkers, first), &other = at(walkers, second);
    const int place = pick_other(kNumPlaces, {one.place, other.place}, random);
    const int fact = story.add_fact(cat(who, " ", pick(kMoveVerbs, random), " the ", at(kPlaces, place), "."));
    if (is_first) one.facts.clear();
    one.facts.push_back(fact);
    one.place = place;
    told.push_back(first);
    if (second == first) return;
    other = one;
    told.push_back(second);
  };
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; i += goes_on ? 2 : 1) {
      const int first = static_cast<int>(random.below(kActors.size()));
      const int second = together ? pick_other(kNumActors, {first}, random) : first;
      const std::string_view name = at(kActors, first);
      step(first, second, together ? cat(name, " and ", at(kActors, second)) : std::string(name), true);
      if (!goes_on) continue;
      const std::string_view who = together ? "they" : pronoun(name);
      step(first, second, cat(pick(kContinuations, random), " ", who), false);
    }
    const int asked = pick_recent(told, random);
    const Walker& walker = at(walkers, asked);
    story.add_question(cat("Where is ", at(kActors, asked), "? "), std::string(at(kPlaces, walker.place)),
                       walker.facts);
  }
}

}  // namespace

void simulate_qa11(RandomStream& random, StoryWriter& story) {
  simulate_walks(false, true, random, story);
}
void simulate_qa12(RandomStream& random, StoryWriter& story) {
  simulate_walks(true, false, random, story);
}
void simulate_qa13(RandomStream& random, StoryWriter& story) {
  simulate_walks(true, true, random, story);
}

}  // namespace wt::babi
