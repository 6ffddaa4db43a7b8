// A run's evaluation and configuration in its event files, as texts in markdown and as scalars.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "train/eval/evaluate.h"
#include "train/run/tensorboard.h"

namespace wt {

// One line that a markdown table or paragraph shows as it is: what has a meaning there is escaped, line breaks and
// control characters become blanks, bytes that are no UTF-8 U+FFFD, and a very long text keeps beginning and end.
std::string markdown_escaped(std::string_view text);
// A block that is shown as it is: every line indented.
std::string markdown_code(std::string_view text);

// The scalars eval/TASK/LENGTH/accuracy, …/official_accuracy (where BABILong's metric is known) and
// …/tokens_per_second, and the text answers/TASK/LENGTH: a table of the first wrong and right answers. `by_official`:
// right and wrong by BABILong's metric. `weights`: what to call the weights that answered. Throws Error (a full disk).
void write_evaluation(TensorBoardWriter& writer, const EvalRow& row, const std::vector<EvalAnswer>& answers,
                      bool by_official, std::string_view weights, std::int64_t step);

}  // namespace wt
