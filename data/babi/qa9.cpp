// qa9, simple negation: "John is no longer in the kitchen." ... "Is John in the kitchen? "
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

// Moves, "is in", "is not in": measured.
constexpr std::array<double, 3> kKindWeights{2, 1, 1};

// Where an actor is, and the latest that is said about it.
struct Walker {
  int place = 0;
  int told_place = 0;  // the place, or the one just left
  bool is_there = false;
  int fact = -1;
};

}  // namespace

void simulate_qa9(RandomStream& random, StoryWriter& story) {
  constexpr int kNumPlaces = static_cast<int>(kPlaces.size());
  std::array<Walker, kActors.size()> walkers;
  for (Walker& walker : walkers) walker.place = static_cast<int>(random.below(kPlaces.size()));
  std::vector<int> told;  // the actor of every fact
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) {
      // Every fact is a move. A negation tells of the place left and keeps the new one back.
      told.push_back(static_cast<int>(random.below(kActors.size())));
      Walker& walker = at(walkers, told.back());
      const int old = walker.place;
      walker.place = pick_other(kNumPlaces, {old}, random);
      const std::size_t kind = random.weighted(kKindWeights);
      std::string_view verb = "is in";
      if (kind == 0) verb = pick(kMoveVerbs, random);
      if (kind == 2) verb = random.bernoulli(0.5) ? "is no longer in" : "is not in";
      walker.is_there = kind != 2;
      walker.told_place = walker.is_there ? walker.place : old;
      walker.fact =
          story.add_fact(cat(at(kActors, told.back()), " ", verb, " the ", at(kPlaces, walker.told_place), "."));
    }
    const int asked = pick_recent(told, random);
    const Walker& walker = at(walkers, asked);
    const bool yes = walker.is_there && random.bernoulli(0.5);
    const bool asks_told = yes || !walker.is_there;
    const int place = asks_told ? walker.told_place : pick_other(kNumPlaces, {walker.told_place}, random);
    story.add_question(cat("Is ", at(kActors, asked), " in the ", at(kPlaces, place), "? "), yes ? "yes" : "no",
                       {walker.fact});
  }
}

}  // namespace wt::babi
