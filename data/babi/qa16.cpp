// qa16, basic induction: "Greg is a swan." "Greg is white." "Lily is a swan." ... "What color is Lily?"
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

constexpr std::array<std::string_view, 5> kNames{"Lily", "Bernhard", "Greg", "Julius", "Brian"};
constexpr std::array<std::string_view, 4> kSpecies{"swan", "lion", "frog", "rhino"};
constexpr std::array<std::string_view, 4> kColors{"gray", "white", "yellow", "green"};
// How often somebody has the colour of the last one of its species, rather than any; measured. So induction may err:
// the answer goes by the one whose species was told last.
constexpr double kSameColorRate = 0.54;

struct Creature {
  int species = -1;
  int color = -1;
  int species_fact = -1;
  int color_fact = -1;
};

// Everybody's species and then its color, in random order, but for one whose color is left open.
std::vector<int> draw_order(RandomStream& random) {
  std::array<int, kNames.size()> told{};
  std::vector<int> order;
  while (order.size() + 1 < 2 * kNames.size()) {
    const int drawn = static_cast<int>(random.below(kNames.size()));
    if (at(told, drawn) == 2) continue;
    ++at(told, drawn);
    order.push_back(drawn);
  }
  return order;
}

}  // namespace

void simulate_qa16(RandomStream& random, StoryWriter& story) {
  std::array<Creature, kNames.size()> creatures;
  std::vector<int> order;
  int asked = 0, num_alike = 0;
  // One of its kind, or three or four, show the asked one's colour; two never do in the published stories.
  do {
    for (Creature& creature : creatures) creature.species = static_cast<int>(random.below(kSpecies.size()));
    order = draw_order(random);
    num_alike = -1;  // itself
    for (int i = 0; i < static_cast<int>(creatures.size()); ++i) {
      if (std::count(order.begin(), order.end(), i) == 1) asked = i;
    }
    for (const Creature& creature : creatures) num_alike += creature.species == at(creatures, asked).species;
  } while (num_alike == 0 || num_alike == 2);

  for (const int told : order) {
    Creature& creature = at(creatures, told);
    if (creature.species_fact < 0) {
      creature.species_fact = story.add_fact(cat(at(kNames, told), " is a ", at(kSpecies, creature.species), "."));
      continue;
    }
    const Creature* last = nullptr;
    for (const Creature& other : creatures) {
      const bool alike = other.species == creature.species && other.color_fact >= 0;
      if (alike && (last == nullptr || other.color_fact > last->color_fact)) last = &other;
    }
    const bool same = last != nullptr && random.bernoulli(kSameColorRate);
    creature.color = same ? last->color : static_cast<int>(random.below(kColors.size()));
    creature.color_fact = story.add_fact(cat(at(kNames, told), " is ", at(kColors, creature.color), "."));
  }
  const Creature& open = at(creatures, asked);
  const Creature* shown = nullptr;
  for (const Creature& other : creatures) {
    const bool alike = other.species == open.species && other.color_fact >= 0;
    if (alike && (shown == nullptr || other.species_fact > shown->species_fact)) shown = &other;
  }
  WT_CHECK(shown != nullptr, "qa16: nobody shares the asked one's species");
  story.add_question(cat("What color is ", at(kNames, asked), "?"), std::string(at(kColors, shown->color)),
                     {open.species_fact, shown->species_fact, shown->color_fact});
}

}  // namespace wt::babi
