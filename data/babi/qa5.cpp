// qa5, three argument relations: "Fred gave the milk to Jeff." ... "Who gave the milk to Jeff? "
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"
#include "data/babi/world.h"

namespace wt::babi {
namespace {

// Measured: two sixths ask for the object, a sixth each the other four.
constexpr std::array<double, 5> kQuestionWeights{33.6, 16.6, 16.6, 16.6, 16.6};
// The share of questions about the very last give, where another object's is in the window too.
constexpr double kLastGiveRate = 0.866;

// The gives that were their object's last one and are in the window, youngest first.
std::vector<int> candidates(const World& world, const StoryWriter& story) {
  std::vector<int> found;
  for (int object = 0; object < static_cast<int>(kObjects.size()); ++object) {
    const int give = world.last_before(
        story.num_facts(), [&](const Event& e) { return e.kind == EventKind::kGive && e.object == object; });
    if (story.in_window(give)) found.push_back(give);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

void ask(const World& world, int asked, RandomStream& random, StoryWriter& story) {
  const Event& event = world.event(asked);
  const auto name = [](int actor) { return kGivers[static_cast<std::size_t>(actor)]; };
  const std::string_view giver = name(event.actor), recipient = name(event.recipient);
  const std::string_view object = kObjects[static_cast<std::size_t>(event.object)];
  // The answer is the latest give that the question's words fit: with another object, say, where the same two met
  // again.
  const auto latest = [&](bool same_giver, bool same_object, bool same_recipient) {
    return world.last_before(story.num_facts(), [&](const Event& e) {
      return e.kind == EventKind::kGive && (!same_giver || e.actor == event.actor) &&
             (!same_object || e.object == event.object) && (!same_recipient || e.recipient == event.recipient);
    });
  };
  switch (random.weighted(kQuestionWeights)) {
    case 0: {
      const int give = latest(true, false, true);
      return story.add_question(cat("What did ", giver, " give to ", recipient, "? "),
                                std::string(kObjects[static_cast<std::size_t>(world.event(give).object)]), {give});
    }
    case 1:
      return story.add_question(cat("Who gave the ", object, "? "), std::string(giver), {asked});
    case 2: {
      const int give = latest(false, true, true);
      return story.add_question(cat("Who gave the ", object, " to ", recipient, "? "),
                                std::string(name(world.event(give).actor)), {give});
    }
    case 3:
      return story.add_question(cat("Who received the ", object, "? "), std::string(recipient), {asked});
    default: {
      const int give = latest(true, true, false);
      return story.add_question(cat("Who did ", giver, " give the ", object, " to? "),
                                std::string(name(world.event(give).recipient)), {give});
    }
  }
}

}  // namespace

void simulate_qa5(RandomStream& random, StoryWriter& story) {
  const WorldRules rules{.actors = kGivers, .kind_weights = {1, 1, 1, 3.6}};
  World world(rules, random);
  while (story.goes_on()) {
    for (int i = 0; i < kFactsPerTurn; ++i) story.add_fact(world.sentence(world.step()));
    const std::vector<int> found = candidates(world, story);
    if (found.empty()) continue;
    const bool take_last = found.size() == 1 || random.bernoulli(kLastGiveRate);
    ask(world, take_last ? found[0] : found[1], random, story);
  }
}

}  // namespace wt::babi
