#include "data/inline_questions.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi/lexicon.h"

namespace wt {
namespace {

// Takes "P VERB the L." apart.
bool parse_move(std::string_view fact, std::string_view& person, std::string_view& place) {
  for (const std::string_view verb : babi::kMoveVerbs) {
    const std::size_t at = fact.find(cat(" ", verb, " the "));
    if (at == std::string_view::npos || at == 0 || !fact.ends_with('.')) continue;
    person = fact.substr(0, at);
    place = fact.substr(at + verb.size() + 6);
    place.remove_suffix(1);
    if (!place.empty() && person.find(' ') == std::string_view::npos && place.find(' ') == std::string_view::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool has_known_questions(std::string_view task) {
  return task == "qa1";
}

std::vector<KnownQuestion> known_questions(std::string_view task, std::span<const std::string> facts) {
  if (!has_known_questions(task)) {
    throw UsageError(cat("inline questions: there is no rule that answers them for ", task, ", only for qa1"));
  }
  std::vector<KnownQuestion> known;
  for (const std::string& fact : facts) {
    std::string_view person, place;
    if (!parse_move(fact, person, place)) {
      throw Error(cat("inline questions: cannot read the fact `", fact, "`, expected `Mary went to the office.`"));
    }
    const std::string question = cat("Where is ", person, "? ");
    const auto at = std::find_if(known.begin(), known.end(), [&](const auto& k) { return k.question == question; });
    if (at == known.end()) {
      known.push_back({question, std::string(place)});
    } else {
      at->answer = place;
    }
  }
  return known;
}

}  // namespace wt
