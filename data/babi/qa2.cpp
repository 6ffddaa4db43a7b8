// qa2, two supporting facts: "John got the milk there." "John went to the office." ... "Where is the milk? "
#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {
namespace {

struct Candidate {
  int handling = 0;  // the get or drop
  int move = 0;      // which tells the place
};

// An object is known to be where its holder went after the get, or where its dropper had gone before the drop.
std::vector<Candidate> candidates(const World& world, const StoryWriter& story) {
  std::vector<Candidate> found;
  for (int object = 0; object < static_cast<int>(kObjects.size()); ++object) {
    const int handling = world.last_handling(object);
    if (!story.in_window(handling)) continue;
    const Event& event = world.event(handling);
    if (event.kind == EventKind::kGet) {
      const int move = world.last_move(event.actor, story.num_facts());
      if (move > handling) found.push_back({handling, move});
    } else {
      const int move = world.last_move(event.actor, handling);
      if (move >= 0) found.push_back({handling, move});
    }
  }
  return found;
}

}  // namespace

void simulate_qa2(RandomStream& random, StoryWriter& story) {
  World world(WorldRules{}, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const std::vector<Candidate> found = candidates(world, story);
    if (found.empty()) continue;
    std::vector<double> weights;
    weights.reserve(found.size());
    for (const Candidate& candidate : found) {
      weights.push_back(world.num_handlings(world.event(candidate.handling).object, story.window_begin()));
    }
    const Candidate& asked = found[random.weighted(weights)];
    story.add_question(
        cat("Where is the ", kObjects[static_cast<std::size_t>(world.event(asked.handling).object)], "? "),
        std::string(kPlaces[static_cast<std::size_t>(world.event(asked.move).place)]), {asked.handling, asked.move});
  }
}

}  // namespace wt::babi
