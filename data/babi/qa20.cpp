// qa20, agents' motivations: "Jason is thirsty." "Where will jason go?" ... "Why did jason get the milk?"
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"
#include "data/babi/simulator_tasks.h"
#include "data/babi/story_writer.h"

namespace wt::babi {
namespace {

struct Motive {
  std::string_view feeling, place, object;
};

constexpr std::array<Motive, 4> kMotives{{{"tired", "bedroom", "pajamas"},
                                          {"hungry", "kitchen", "apple"},
                                          {"bored", "garden", "football"},
                                          {"thirsty", "kitchen", "milk"}}};
constexpr std::array<std::string_view, 4> kNames{"Antoine", "Sumit", "Jason", "Yann"};
constexpr std::array<std::string_view, 4> kLowerNames{"antoine", "sumit", "jason", "yann"};

struct Agent {
  int motive = 0;
  int steps = 0;  // 1: it is told how the agent feels; 2: the agent has gone; 3: and has got the object
  int feeling_fact = -1;
};

}  // namespace

void simulate_qa20(RandomStream& random, StoryWriter& story) {
  std::array<Agent, kNames.size()> agents;
  for (Agent& agent : agents) agent.motive = static_cast<int>(random.below(kMotives.size()));
  std::array<bool, kMotives.size()> is_taken{};  // the object
  while (true) {
    std::vector<int> able;  // to do the next step; an object is there once
    for (int i = 0; i < static_cast<int>(agents.size()); ++i) {
      const Agent& agent = at(agents, i);
      if (agent.steps < 2 || (agent.steps == 2 && !at(is_taken, agent.motive))) able.push_back(i);
    }
    if (able.empty()) return;
    const int acting = pick(able, random);
    Agent& agent = at(agents, acting);
    const std::string_view name = at(kNames, acting), lower = at(kLowerNames, acting);
    const Motive& motive = at(kMotives, agent.motive);
    ++agent.steps;
    if (agent.steps == 1) {
      agent.feeling_fact = story.add_fact(cat(name, " is ", motive.feeling, "."));
      story.add_question(cat("Where will ", lower, " go?"), std::string(motive.place), {agent.feeling_fact});
    } else if (agent.steps == 2) {
      story.add_fact(cat(name, " ", pick(kMoveVerbs, random), " the ", motive.place, "."));
      story.add_question(cat("Why did ", lower, " go to the ", motive.place, "?"), std::string(motive.feeling),
                         {agent.feeling_fact});
    } else {
      at(is_taken, agent.motive) = true;
      story.add_fact(cat(name, " ", pick(kGetVerbs, random), " the ", motive.object, " there."));
      story.add_question(cat("Why did ", lower, " get the ", motive.object, "?"), std::string(motive.feeling),
                         {agent.feeling_fact});
    }
  }
}

}  // namespace wt::babi
