// qa1, single supporting fact: "Mary went to the office." ... "Where is Mary? "
#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {

void simulate_qa1(RandomStream& random, StoryWriter& story) {
  const WorldRules rules{.kind_weights = {1, 0, 0, 0}};
  World world(rules, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const int actor = pick_actor([&](int a) { return world.num_moves(a, story.window_begin()); }, random);
    const int asked = world.last_move(actor, story.num_facts());
    const Event& event = world.event(asked);
    story.add_question(cat("Where is ", at(kActors, event.actor), "? "), std::string(at(kPlaces, event.place)),
                       {asked});
  }
}

}  // namespace wt::babi
