// The world of qa1 ... qa3 and qa5 ... qa8: actors walk between places and get, drop and give objects.
// Internal to the simulator.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "data/babi/lexicon.h"

namespace wt::babi {

enum class EventKind : std::uint8_t { kMove, kGet, kDrop, kGive };

struct Event {
  EventKind kind = EventKind::kMove;
  int actor = 0;
  int object = -1;     // of get, drop and give
  int place = -1;      // where a move leads, or where the actor stands
  int recipient = -1;  // of a give
};

// How a task's world differs from the others'.
struct WorldRules {
  std::span<const std::string_view, 4> actors = kActors;
  // Chances of the kinds, in the order of EventKind. What is drawn and impossible (a drop with empty hands) is drawn
  // anew, actor and all.
  std::array<double, 4> kind_weights{1, 1, 1, 0};
  double get_there_rate = 1.0;  // "... got the milk there." rather than "... got the milk."
  double drop_there_rate = 0.2;
};

class World {
 public:
  // Everyone and everything at a place of its own choice, which the reader is not told.
  World(const WorldRules& rules, RandomStream& random);

  // Draws the next event, lets it happen and remembers it: it is fact number history().size() - 1.
  const Event& step();
  const std::vector<Event>& history() const { return history_; }
  // The event in words.
  std::string sentence(const Event& event);

  static constexpr int kNobody = -1;
  // The number of the last fact before `before` for which `test(event)` holds; -1 where there is none.
  template <class Test>
  int last_before(int before, Test&& test) const {
    for (int i = before - 1; i >= 0; --i) {
      if (test(history_[static_cast<std::size_t>(i)])) return i;
    }
    return -1;
  }
  const Event& event(int fact) const { return history_[static_cast<std::size_t>(fact)]; }
  // The last get, drop or give of an object; the last move of an actor before a fact.
  int last_handling(int object) const;
  int last_move(int actor, int before) const;
  // How many of the facts from `begin` on are moves of an actor, or get, drop or give an object. The published stories
  // ask about a thing as often as it stands in the window, as if a fact of the window were drawn and its thing asked
  // about.
  int num_moves(int actor, int begin) const;
  int num_handlings(int object, int begin) const;
  // The same for what an actor gets, drops or gives; being given something does not count.
  int num_handlings_by(int actor, int begin) const;

 private:
  bool try_event(Event& event);

  WorldRules rules_;
  RandomStream& random_;
  std::array<int, 4> place_of_actor_{};
  std::array<int, 3> place_of_object_{};  // while nobody holds it
  std::array<int, 3> holder_{};           // kNobody, or an actor
  std::vector<Event> history_;
};

// An actor of kActors, as often as `count(actor)` says in proportion; World::kNobody where all counts are 0.
template <class Count>
int pick_actor(Count&& count, RandomStream& random) {
  std::array<double, kActors.size()> weights{};
  double total = 0;
  for (std::size_t actor = 0; actor < weights.size(); ++actor) {
    weights[actor] = count(static_cast<int>(actor));
    total += weights[actor];
  }
  return total == 0 ? World::kNobody : static_cast<int>(random.weighted(weights));
}

}  // namespace wt::babi
