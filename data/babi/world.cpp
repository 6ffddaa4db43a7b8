#include "data/babi/world.h"

#include <algorithm>

#include "core/error.h"
#include "data/babi/story_writer.h"

namespace wt::babi {

World::World(const WorldRules& rules, RandomStream& random) : rules_(rules), random_(random) {
  for (int& place : place_of_actor_) place = static_cast<int>(random_.below(kPlaces.size()));
  for (int& place : place_of_object_) place = static_cast<int>(random_.below(kPlaces.size()));
  holder_.fill(kNobody);
}

const Event& World::step() {
  Event event;
  while (true) {
    event = Event{};
    event.actor = static_cast<int>(random_.below(place_of_actor_.size()));
    event.kind = static_cast<EventKind>(random_.weighted(rules_.kind_weights));
    if (try_event(event)) break;
  }
  history_.push_back(event);
  return history_.back();
}

// Draws what is open in the event; false, and nothing has happened, where it cannot be.
bool World::try_event(Event& event) {
  const auto actor = static_cast<std::size_t>(event.actor);
  event.place = place_of_actor_[actor];
  if (event.kind == EventKind::kMove) {
    event.place = static_cast<int>(random_.below(kPlaces.size()));
    if (event.place == place_of_actor_[actor]) return false;
    place_of_actor_[actor] = event.place;
    return true;
  }
  std::vector<int> objects;
  for (std::size_t o = 0; o < holder_.size(); ++o) {
    const bool lies_here = holder_[o] == kNobody && place_of_object_[o] == event.place;
    if (event.kind == EventKind::kGet ? lies_here : holder_[o] == event.actor) objects.push_back(static_cast<int>(o));
  }
  if (objects.empty()) return false;
  event.object = pick(objects, random_);
  int& holder = holder_[static_cast<std::size_t>(event.object)];
  if (event.kind == EventKind::kGet) {
    holder = event.actor;
  } else if (event.kind == EventKind::kDrop) {
    holder = kNobody;
    place_of_object_[static_cast<std::size_t>(event.object)] = event.place;
  } else {
    std::vector<int> others;
    for (std::size_t a = 0; a < place_of_actor_.size(); ++a) {
      if (a != actor && place_of_actor_[a] == event.place) others.push_back(static_cast<int>(a));
    }
    if (others.empty()) return false;
    event.recipient = pick(others, random_);
    holder = event.recipient;
  }
  return true;
}

std::string World::sentence(const Event& event) {
  const std::string_view actor = rules_.actors[static_cast<std::size_t>(event.actor)];
  if (event.kind == EventKind::kMove) {
    return cat(actor, " ", pick(kMoveVerbs, random_), " the ", kPlaces[static_cast<std::size_t>(event.place)], ".");
  }
  const std::string_view object = kObjects[static_cast<std::size_t>(event.object)];
  if (event.kind == EventKind::kGet) {
    const std::string_view verb = pick(kGetVerbs, random_);
    return cat(actor, " ", verb, " the ", object, random_.bernoulli(rules_.get_there_rate) ? " there." : ".");
  }
  if (event.kind == EventKind::kDrop) {
    const std::string_view verb = pick(kDropVerbs, random_);
    return cat(actor, " ", verb, " the ", object, random_.bernoulli(rules_.drop_there_rate) ? " there." : ".");
  }
  const std::string_view recipient = rules_.actors[static_cast<std::size_t>(event.recipient)];
  return cat(actor, " ", pick(kGiveVerbs, random_), " the ", object, " to ", recipient, ".");
}

int World::last_handling(int object) const {
  return last_before(static_cast<int>(history_.size()), [&](const Event& e) { return e.object == object; });
}

int World::last_move(int actor, int before) const {
  return last_before(before, [&](const Event& e) { return e.kind == EventKind::kMove && e.actor == actor; });
}

int World::num_moves(int actor, int begin) const {
  return static_cast<int>(std::count_if(history_.begin() + begin, history_.end(), [&](const Event& e) {
    return e.kind == EventKind::kMove && e.actor == actor;
  }));
}

int World::num_handlings(int object, int begin) const {
  return static_cast<int>(
      std::count_if(history_.begin() + begin, history_.end(), [&](const Event& e) { return e.object == object; }));
}

int World::num_handlings_by(int actor, int begin) const {
  return static_cast<int>(std::count_if(history_.begin() + begin, history_.end(), [&](const Event& e) {
    return e.kind != EventKind::kMove && e.actor == actor;
  }));
}

}  // namespace wt::babi
