// qa10, indefinite knowledge: "Bill is either in the school or the office." ... "Is Bill in the office? "
#include <array>
#include <utility>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

// Moves, "is in", "is either in": measured. (One in six of the published "either"s names one place twice; ours name
// two.)
constexpr std::array<double, 3> kKindWeights{2, 1, 1};

// The latest that is said about an actor: a place, or two.
struct Said {
  int place = -1;   // where the actor really is
  int first = -1;   // of the places said
  int second = -1;  // -1 where there is one only
  int fact = -1;
};

}  // namespace

void simulate_qa10(RandomStream& random, StoryWriter& story) {
  constexpr int kNumPlaces = static_cast<int>(kTownPlaces.size());
  std::array<Said, kTownspeople.size()> said;
  std::vector<int> told;  // the actor of every fact
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) {
      told.push_back(static_cast<int>(random.below(kTownspeople.size())));
      const std::string_view actor = at(kTownspeople, told.back());
      Said& now = at(said, told.back());
      now.place = pick_other(kNumPlaces, {now.place}, random);
      now.first = now.place;
      now.second = -1;
      const std::size_t kind = random.weighted(kKindWeights);
      if (kind == 2) {
        now.second = pick_other(kNumPlaces, {now.place}, random);
        if (random.bernoulli(0.5)) std::swap(now.first, now.second);
        now.fact = story.add_fact(
            cat(actor, " is either in the ", at(kTownPlaces, now.first), " or the ", at(kTownPlaces, now.second), "."));
      } else {
        const std::string_view verb = kind == 0 ? pick(kMoveVerbs, random) : "is in";
        now.fact = story.add_fact(cat(actor, " ", verb, " the ", at(kTownPlaces, now.first), "."));
      }
    }
    const int asked = pick_recent(told, random);
    const Said& last = at(said, asked);
    const int place = random.bernoulli(0.5) ? last.place : pick_other(kNumPlaces, {last.place}, random);
    const bool is_named = place == last.first || place == last.second;
    const std::string answer = !is_named ? "no" : last.second >= 0 ? "maybe" : "yes";
    story.add_question(cat("Is ", at(kTownspeople, asked), " in the ", at(kTownPlaces, place), "? "), answer,
                       {last.fact});
  }
}

}  // namespace wt::babi
