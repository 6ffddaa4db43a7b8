// qa17, positional reasoning: "The triangle is above the red square." ... "Is the triangle above the blue square?"
#include <array>

#include "core/error.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

constexpr std::array<std::string_view, 6> kShapes{"triangle",   "pink rectangle", "blue square",
                                                  "red square", "yellow square",  "red sphere"};
// "The A is <relation> the B": A = B + step. The opposite of number i is number i ^ 1.
constexpr std::array<std::string_view, 4> kRelations{"above", "below", "to the left of", "to the right of"};
constexpr std::array<std::array<int, 2>, 4> kSteps{{{0, 1}, {0, -1}, {-1, 0}, {1, 0}}};
constexpr double kMiddleFirstRate = 2.0 / 3;  // that a fact names the middle shape first, as measured
constexpr int kNumQuestions = 8;

}  // namespace

void simulate_qa17(RandomStream& random, StoryWriter& story) {
  constexpr int kNumRelations = static_cast<int>(kRelations.size());
  std::vector<std::string_view> shapes(kShapes.begin(), kShapes.end());
  random.shuffle(shapes);
  const std::string_view middle = shapes[0];
  const std::array<std::string_view, 2> ends{shapes[1], shapes[2]};
  // The middle shape is at the origin, the ends are its neighbours, on different sides.
  std::array<int, 2> sides{};
  sides[0] = static_cast<int>(random.below(kRelations.size()));
  sides[1] = pick_other(kNumRelations, {sides[0]}, random);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    story.add_fact(random.bernoulli(kMiddleFirstRate)
                       ? cat("The ", middle, " is ", at(kRelations, sides[i] ^ 1), " the ", ends[i], ".")
                       : cat("The ", ends[i], " is ", at(kRelations, sides[i]), " the ", middle, "."));
  }
  for (int i = 0; i < kNumQuestions; ++i) {
    const int asked = static_cast<int>(random.below(ends.size())), reference = 1 - asked;
    const bool yes = random.bernoulli(0.5);
    const std::array<int, 2>&from = at(kSteps, at(sides, reference)), &to = at(kSteps, at(sides, asked));
    std::vector<int> relations;  // that hold, or do not
    for (int r = 0; r < kNumRelations; ++r) {
      const std::array<int, 2>& step = at(kSteps, r);
      const bool holds = (to[0] - from[0]) * step[0] + (to[1] - from[1]) * step[1] > 0;
      if (holds == yes) relations.push_back(r);
    }
    story.add_question(cat("Is the ", at(ends, asked), " ", at(kRelations, pick(relations, random)), " the ",
                           at(ends, reference), "?"),
                       yes ? "yes" : "no", {asked, reference});
  }
}

}  // namespace wt::babi
