// Questions that can be asked in the middle of a story, because their answers follow from the facts so far.
//
// A model trained on the last answer alone sits on a plateau for very long; questions after every fact ("dense
// questions") get it off. There is a rule for qa1 so far: "P VERB to the L." puts P in L.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

struct KnownQuestion {
  std::string question;  // "Where is Mary? "
  std::string answer;    // "office"
  bool operator==(const KnownQuestion&) const = default;
};

// Whether the task's facts decide such questions.
bool has_known_questions(std::string_view task);

// What can be asked after these facts, one question per person, in the order in which the persons first appear. Throws
// UsageError for a task without a rule, and Error for a fact the rule cannot read.
std::vector<KnownQuestion> known_questions(std::string_view task, std::span<const std::string> facts);

}  // namespace wt
