// qa15, basic deduction: "Mice are afraid of cats." "Emily is a mouse." ... "What is emily afraid of?"
#include <array>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

struct Species {
  std::string_view one, many, many_capital;
};

constexpr std::array<Species, 4> kSpecies{
    {{"mouse", "mice", "Mice"}, {"wolf", "wolves", "Wolves"}, {"cat", "cats", "Cats"}, {"sheep", "sheep", "Sheep"}}};
constexpr std::array<std::string_view, 4> kNames{"Gertrude", "Winona", "Jessica", "Emily"};
constexpr std::array<std::string_view, 4> kLowerNames{"gertrude", "winona", "jessica", "emily"};
constexpr int kNumQuestions = 4;

}  // namespace

void simulate_qa15(RandomStream& random, StoryWriter& story) {
  constexpr int kNumSpecies = static_cast<int>(kSpecies.size());
  struct Stated {
    int species = -1;  // a species' enemy, or a person's kind
    int fact = -1;
  };
  std::array<Stated, kSpecies.size()> enemies;
  std::array<Stated, kNames.size()> persons;
  while (story.num_facts() < static_cast<int>(enemies.size() + persons.size())) {
    // Draws what is told next; a person only once its species has been told of.
    const int drawn = static_cast<int>(random.below(enemies.size() + persons.size()));
    if (drawn < kNumSpecies) {
      Stated& stated = at(enemies, drawn);
      if (stated.fact >= 0) continue;
      stated.species = pick_other(kNumSpecies, {drawn}, random);
      stated.fact = story.add_fact(
          cat(at(kSpecies, drawn).many_capital, " are afraid of ", at(kSpecies, stated.species).many, "."));
      continue;
    }
    Stated& stated = at(persons, drawn - kNumSpecies);
    const int species = static_cast<int>(random.below(kSpecies.size()));
    if (stated.fact >= 0 || at(enemies, species).fact < 0) continue;
    stated.species = species;
    stated.fact = story.add_fact(cat(at(kNames, drawn - kNumSpecies), " is a ", at(kSpecies, species).one, "."));
  }
  for (int i = 0; i < kNumQuestions; ++i) {
    const int asked = static_cast<int>(random.below(kNames.size()));
    const Stated& person = at(persons, asked);
    const Stated& enemy = at(enemies, person.species);
    story.add_question(cat("What is ", at(kLowerNames, asked), " afraid of?"),
                       std::string(at(kSpecies, enemy.species).one), {person.fact, enemy.fact});
  }
}

}  // namespace wt::babi
