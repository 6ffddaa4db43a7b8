// qa1, single supporting fact: "Mary went to the office." ... "Where is Mary? "
#include <array>

#include "core/error.h"
#include "data/babi_simulator_tasks.h"
#include "data/babi_story_writer.h"
#include "data/babi_world.h"

namespace wt::babi {

BabiStory simulate_qa1(RandomStream& random) {
  const WorldRules rules{.kind_weights = {1, 0, 0, 0}};
  World world(rules, random);
  StoryWriter story;
  while (story.num_questions() < kQuestionsPerStory) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    std::array<double, kActors.size()> weights{};
    for (std::size_t actor = 0; actor < weights.size(); ++actor) {
      weights[actor] = world.num_moves(static_cast<int>(actor), story.window_begin());
    }
    const int asked = world.last_move(static_cast<int>(random.weighted(weights)), story.num_facts());
    const Event& event = world.event(asked);
    story.add_question(cat("Where is ", kActors[static_cast<std::size_t>(event.actor)], "? "),
                       std::string(kPlaces[static_cast<std::size_t>(event.place)]), {asked});
  }
  return story.take();
}

}  // namespace wt::babi
