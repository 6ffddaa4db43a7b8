// qa4, two argument relations: "The office is north of the kitchen." ... "What is north of the kitchen?"
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

struct Relation {
  std::string_view subject;  // "The <subject> is <direction> of the <reference>."
  std::string_view reference;
  int direction = 0;  // 0 and 1 are opposites, and so are 2 and 3
};

}  // namespace

void simulate_qa4(RandomStream& random, StoryWriter& story) {
  std::vector<std::string_view> places(kPlaces.begin(), kPlaces.end());
  random.shuffle(places);
  // places[0] - places[1] - places[2] on one axis; the middle one stands in both facts.
  const int axis = static_cast<int>(random.below(2)) * 2;
  std::array<Relation, 2> facts{Relation{places[0], places[1], axis}, Relation{places[2], places[1], axis + 1}};
  for (Relation& fact : facts) {
    if (random.bernoulli(0.5)) fact = {fact.reference, fact.subject, fact.direction ^ 1};
  }
  if (random.bernoulli(0.5)) std::swap(facts[0], facts[1]);

  for (const Relation& fact : facts) {
    story.add_fact(cat("The ", fact.subject, " is ", kDirections[static_cast<std::size_t>(fact.direction)], " of the ",
                       fact.reference, "."));
  }
  const int asked = static_cast<int>(random.below(facts.size()));
  const Relation& fact = facts[static_cast<std::size_t>(asked)];
  const std::string_view direction = kDirections[static_cast<std::size_t>(fact.direction)];
  const std::string_view opposite = kDirections[static_cast<std::size_t>(fact.direction ^ 1)];
  const bool forward = random.bernoulli(0.5);
  const std::string question = forward ? cat("What is ", direction, " of the ", fact.reference, "?")
                                       : cat("What is the ", fact.reference, " ", opposite, " of?");
  story.add_question(question, std::string(fact.subject), {asked});
}

}  // namespace wt::babi
