// qa3, three supporting facts: "Where was the milk before the office? "
#include <algorithm>

#include "core/error.h"
#include "data/babi_simulator_tasks.h"
#include "data/babi_story_writer.h"
#include "data/babi_world.h"

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
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.handling > b.handling; });
  return found;
}

// The moves (from, to) the question is about, neighbours in the carry. Nobody came to the second place again later, so
// that "before the office" has one meaning.
std::pair<int, int> choose_moves(const World& world, const Carry& carry, RandomStream& random) {
  std::vector<std::pair<int, int>> pairs;
  for (std::size_t i = 1; i < carry.moves.size(); ++i) {
    const int place = world.event(carry.moves[i]).place;
    const bool comes_again = std::any_of(carry.moves.begin() + static_cast<std::ptrdiff_t>(i) + 1, carry.moves.end(),
                                         [&](int later) { return world.event(later).place == place; });
    if (!comes_again) pairs.emplace_back(carry.moves[i - 1], carry.moves[i]);
  }
  return pick(pairs, random);
}

}  // namespace

BabiStory simulate_qa3(RandomStream& random) {
  const WorldRules rules{.get_there_rate = 0.2};
  World world(rules, random);
  StoryWriter story;
  while (story.num_questions() < kQuestionsPerStory) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const std::vector<Carry> found = candidates(world, story);
    if (found.empty()) continue;
    const Carry& asked = pick_recent(found, random);
    const auto [from, to] = choose_moves(world, asked, random);
    const auto place = [&](int fact) { return kPlaces[static_cast<std::size_t>(world.event(fact).place)]; };
    story.add_question(cat("Where was the ", kObjects[static_cast<std::size_t>(world.event(asked.handling).object)],
                           " before the ", place(to), "? "),
                       std::string(place(from)), {asked.handling, to, from});
  }
  return story.take();
}

}  // namespace wt::babi
