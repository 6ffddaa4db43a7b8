// The parts of a report that show an evaluation.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "train/report/run_record.h"

namespace wt {

// The colour of a run as a small line: markup.
std::string run_key(std::size_t run);

// Tables and charts of accuracy by length and task; speed and memory beside. Empty where no run has an evaluation.
std::string accuracy_section(const std::vector<RunRecord>& runs);
// Questions with the answers of all runs, wrong ones first, by task and length. Empty where no answers were kept.
std::string answers_section(const std::vector<RunRecord>& runs);

}  // namespace wt
