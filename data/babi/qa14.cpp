// qa14, time reasoning: "This morning Mary went to the park." "Yesterday Mary moved to the school." ...
// "Where was Mary before the park? "
#include <algorithm>
#include <array>
#include <numeric>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

constexpr std::array<std::string_view, 4> kFirstTimes{"Yesterday", "This morning", "This afternoon", "This evening"};
constexpr std::array<std::string_view, 4> kLastTimes{"yesterday", "this morning", "this afternoon", "this evening"};
// A visit in the window is asked about this much rather than an older one, as measured.
constexpr double kOldVisitWeight = 0.2;

struct Visit {
  int actor = 0;
  int time = 0;
  int place = 0;
  int fact = -1;  // in the story, once told
};

// The visits in the order of happening; those from `begin` on are told now, none at the place in the row at which it
// happened.
void tell(std::vector<Visit>& visits, std::size_t begin, RandomStream& random, StoryWriter& story) {
  std::vector<std::size_t> order(visits.size() - begin);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto stays = [&] {
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (order[i] == i) return true;
    }
    return false;
  };
  while (stays()) random.shuffle(order);
  for (const std::size_t i : order) {
    Visit& visit = visits[begin + i];
    const std::string move =
        cat(at(kTownspeople, visit.actor), " ", pick(kMoveVerbs, random), " the ", at(kTownPlaces, visit.place));
    visit.fact = story.add_fact(random.bernoulli(0.5) ? cat(at(kFirstTimes, visit.time), " ", move, ".")
                                                      : cat(move, " ", at(kLastTimes, visit.time), "."));
  }
}

// The visits that can be asked about: those with one before. A place that the actor came to again stands for the last
// visit, as in the published stories.
std::vector<double> question_weights(const std::vector<Visit>& visits) {
  std::vector<double> weights;
  for (std::size_t i = 0; i < visits.size(); ++i) {
    const bool comes_again = std::any_of(visits.begin(), visits.end(), [&](const Visit& other) {
      return other.actor == visits[i].actor && other.place == visits[i].place && other.time > visits[i].time;
    });
    const bool can_be_asked = visits[i].time > 0 && !comes_again;
    weights.push_back(!can_be_asked ? 0.0 : i + kWindow >= visits.size() ? 1.0 : kOldVisitWeight);
  }
  return weights;
}

void ask(const std::vector<Visit>& visits, const Visit& asked, StoryWriter& story) {
  for (const Visit& before : visits) {
    if (before.actor != asked.actor || before.time != asked.time - 1) continue;
    story.add_question(
        cat("Where was ", at(kTownspeople, asked.actor), " before the ", at(kTownPlaces, asked.place), "? "),
        std::string(at(kTownPlaces, before.place)), {asked.fact, before.fact});
  }
}

}  // namespace

void simulate_qa14(RandomStream& random, StoryWriter& story) {
  constexpr int kNumTimes = static_cast<int>(kFirstTimes.size());
  std::vector<Visit> visits;
  std::array<int, kTownspeople.size()> next_time{}, place_of;
  place_of.fill(-1);
  while (story.goes_on()) {
    const auto begin = visits.size();
    std::vector<double> weights;
    // Pairs of visits until something can be asked.
    do {
      for (int i = 0; i < kFactsPerTurn; ++i) {
        int actor = 0;
        do {
          actor = static_cast<int>(random.below(kTownspeople.size()));
        } while (at(next_time, actor) == kNumTimes);
        int& place = at(place_of, actor);
        place = pick_other(static_cast<int>(kTownPlaces.size()), {place}, random);
        visits.push_back({actor, at(next_time, actor)++, place, -1});
      }
      weights = question_weights(visits);
    } while (std::accumulate(weights.begin(), weights.end(), 0.0) == 0);
    tell(visits, begin, random, story);
    ask(visits, visits[random.weighted(weights)], story);
  }
}

}  // namespace wt::babi
