// qa6, yes/no questions: "Mary went to the office." ... "Is Mary in the kitchen? "
#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {

void simulate_qa6(RandomStream& random, StoryWriter& story) {
  World world(WorldRules{}, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    // Gets and drops say nothing about places here: only who moved lately can be asked about.
    const int actor = pick_actor([&](int a) { return world.num_moves(a, story.window_begin()); }, random);
    if (actor == World::kNobody) continue;
    const int asked = world.last_move(actor, story.num_facts());
    const Event& event = world.event(asked);
    const bool is_there = random.bernoulli(0.5);
    const int place = is_there ? event.place : pick_other(static_cast<int>(kPlaces.size()), {event.place}, random);
    story.add_question(cat("Is ", at(kActors, event.actor), " in the ", at(kPlaces, place), "? "),
                       is_there ? "yes" : "no", {asked});
  }
}

}  // namespace wt::babi
