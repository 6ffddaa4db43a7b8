// qa3, three supporting facts: "Where was the milk before the office? "
#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {
namespace {

// An object's last get or drop, and the moves of its last carrier while that carry lasted.
struct Carry {
  int handling = 0;
  std::vector<int> moves;
};

std::vector<Carry> candidates(const World& world, const StoryWriter& story) {
  std::vector<Carry> found;
  for (int object = 0; object < static_cast<int>(kObjects.size()); ++object) {
    Carry carry{world.last_handling(object), {}};
    if (!story.in_window(carry.handling)) continue;
    const Event& last = world.event(carry.handling);
    const bool held = last.kind == EventKind::kGet;
    const int begin =
        held ? carry.handling : world.last_before(carry.handling, [&](const Event& e) { return e.object == object; });
    const int end = held ? story.num_facts() : carry.handling;
    for (int fact = begin + 1; fact < end; ++fact) {
      const Event& event = world.event(fact);
      if (event.kind == EventKind::kMove && event.actor == last.actor) carry.moves.push_back(fact);
    }
    if (carry.moves.size() >= 2) found.push_back(std::move(carry));
  }
  return found;
}

// The moves (from, to) the question is about, neighbours in the carry. A place that was visited again stands for its
// last visit, so that "before the office" has one meaning.
std::pair<int, int> choose_moves(const World& world, const Carry& carry, RandomStream& random) {
  const auto place = [&](std::size_t i) { return world.event(carry.moves[i]).place; };
  std::size_t to = 1 + static_cast<std::size_t>(random.below(carry.moves.size() - 1));
  for (std::size_t later = to + 1; later < carry.moves.size(); ++later) {
    if (place(later) == place(to)) to = later;
  }
  return {carry.moves[to - 1], carry.moves[to]};
}

}  // namespace

void simulate_qa3(RandomStream& random, StoryWriter& story) {
  const WorldRules rules{.get_there_rate = 0.2};
  World world(rules, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const std::vector<Carry> found = candidates(world, story);
    if (found.empty()) continue;
    std::vector<double> weights;
    weights.reserve(found.size());
    for (const Carry& carry : found) {
      weights.push_back(world.num_handlings(world.event(carry.handling).object, story.window_begin()));
    }
    const Carry& asked = found[random.weighted(weights)];
    const auto [from, to] = choose_moves(world, asked, random);
    const auto place = [&](int fact) { return kPlaces[static_cast<std::size_t>(world.event(fact).place)]; };
    story.add_question(cat("Where was the ", kObjects[static_cast<std::size_t>(world.event(asked.handling).object)],
                           " before the ", place(to), "? "),
                       std::string(place(from)), {asked.handling, to, from});
  }
}

}  // namespace wt::babi
