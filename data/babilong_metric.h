// BABILong's own way to count an answer as right (Kuratov et al., arXiv 2406.10149; the public repository's metrics).
//
// The output is lower-cased and cut before the first ".", "<context>", "<example>" and "Question". The task's labels
// that stand in it (anywhere, as substrings), less those that stand in the lower-cased question, must be exactly the
// target: for a target of more than 3 characters with a comma ("apple,milk") exactly its parts, else exactly it.
//
// Two things follow that look like mistakes and are kept, because a leaderboard's numbers are made with them: the cut
// at "Question" comes after lower-casing and never happens; qa7's "none" holds "one" and is never right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wt {

// The words that can be an answer in a task, "qa1" ... "qa20". Throws UsageError for any other task.
const std::vector<std::string>& babilong_labels(std::string_view task);

// Whether the output counts as right. Letters beyond ASCII are not lower-cased: no label has any.
bool babilong_correct(std::string_view task, std::string_view target, std::string_view output,
                      std::string_view question);

}  // namespace wt
