// qa19, path finding: "The garden is west of the office." ... "How do you go from the garden to the kitchen?"
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

// Going from `from` in a direction leads to `to`.
struct Edge {
  int from = 0, to = 0;
  int direction = 0;
  int fact = -1;
};

}  // namespace

void simulate_qa19(RandomStream& random, StoryWriter& story) {
  constexpr int kNumDirections = static_cast<int>(kDirections.size()), kNumPlaces = static_cast<int>(kPlaces.size());
  std::vector<std::string_view> places(kPlaces.begin(), kPlaces.end());
  random.shuffle(places);
  // places[0] -> places[1] -> places[2] is the way that is asked for. It does not turn back.
  const int first = static_cast<int>(random.below(kDirections.size()));
  const int second = pick_other(kNumDirections, {first ^ 1}, random);
  std::vector<Edge> edges{{0, 1, first}, {1, 2, second}};
  // The others lie beside those three, on any free sides of theirs. (As in the published stories a side of the start
  // and one of the end may mean the same spot; only ways that are told of can be gone.)
  std::vector<Edge> free_sides;
  for (int place = 0; place < 3; ++place) {
    for (int direction = 0; direction < kNumDirections; ++direction) {
      const bool is_taken = std::any_of(edges.begin(), edges.end(), [&](const Edge& edge) {
        return (edge.from == place && edge.direction == direction) ||
               (edge.to == place && (edge.direction ^ 1) == direction);
      });
      if (!is_taken) free_sides.push_back({place, -1, direction});
    }
  }
  random.shuffle(free_sides);
  for (int place = 3; place < kNumPlaces; ++place) {
    edges.push_back(at(free_sides, place - 3));
    edges.back().to = place;
  }

  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  random.shuffle(order);
  for (const std::size_t i : order) {
    Edge& edge = edges[i];
    const std::string_view from = at(places, edge.from), to = at(places, edge.to);
    edge.fact = story.add_fact(
        random.bernoulli(0.5) ? cat("The ", to, " is ", at(kDirections, edge.direction), " of the ", from, ".")
                              : cat("The ", from, " is ", at(kDirections, edge.direction ^ 1), " of the ", to, "."));
  }
  story.add_question(cat("How do you go from the ", places[0], " to the ", places[2], "?"),
                     cat(at(kDirections, first).substr(0, 1), ",", at(kDirections, second).substr(0, 1)),
                     {edges[0].fact, edges[1].fact});
}

}  // namespace wt::babi
