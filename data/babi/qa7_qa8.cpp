// qa7, counting: "How many objects is Mary carrying? ", and qa8, lists: "What is Mary carrying? "
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {
namespace {

constexpr std::array<std::string_view, 4> kCounts{"none", "one", "two", "three"};

// What an actor's hands have had to do with: every such fact counts for the answer.
struct Hands {
  std::vector<int> facts;
  std::vector<int> objects;  // held at the end, in the order in which they came
};

Hands hands_of(const World& world, int actor) {
  Hands hands;
  for (int fact = 0; fact < static_cast<int>(world.history().size()); ++fact) {
    const Event& event = world.event(fact);
    if (event.kind == EventKind::kMove || (event.actor != actor && event.recipient != actor)) continue;
    hands.facts.push_back(fact);
    const bool comes = event.kind == EventKind::kGet || event.recipient == actor;
    if (comes) {
      hands.objects.push_back(event.object);
    } else {
      std::erase(hands.objects, event.object);
    }
  }
  return hands;
}

// Facts and questions about what somebody carries; `ask(name, hands)` words the question and the answer.
template <class Ask>
void simulate_carrying(const WorldRules& rules, RandomStream& random, StoryWriter& story, Ask&& ask) {
  World world(rules, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const int asked = pick_actor([&](int a) { return world.num_handlings_by(a, story.window_begin()); }, random);
    if (asked == World::kNobody) continue;
    ask(at(kActors, asked), hands_of(world, asked));
  }
}

}  // namespace

void simulate_qa7(RandomStream& random, StoryWriter& story) {
  const WorldRules rules{.kind_weights = {1, 1, 1, 4}};
  simulate_carrying(rules, random, story, [&](std::string_view name, const Hands& hands) {
    story.add_question(cat("How many objects is ", name, " carrying? "), std::string(kCounts[hands.objects.size()]),
                       hands.facts);
  });
}

void simulate_qa8(RandomStream& random, StoryWriter& story) {
  simulate_carrying(WorldRules{}, random, story, [&](std::string_view name, const Hands& hands) {
    std::string list;
    for (const int object : hands.objects) list += cat(list.empty() ? "" : ",", at(kObjects, object));
    story.add_question(cat("What is ", name, " carrying? "), list.empty() ? "nothing" : list, hands.facts);
  });
}

}  // namespace wt::babi
