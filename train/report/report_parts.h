// The parts of a report.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "train/report/run_group.h"

namespace wt {

// Where there is no figure.
constexpr const char* kMissing = "–";

// The colour of a group of runs as a small line: markup.
std::string run_key(std::size_t group);
// The place of the run's group.
std::size_t group_of(const std::vector<RunGroup>& groups, std::size_t run);

// Charts over steps, tokens or hours, whichever the runs have; the reader chooses. Empty where there is no figure.
std::string curves_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups);
// Tables and charts of accuracy by length and task; speed and memory beside. Empty where no run has an evaluation.
std::string accuracy_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups);
// Questions with the answers of all runs, wrong ones first, by task and length. Empty where no answers were kept.
std::string answers_section(const std::vector<RunRecord>& runs);

}  // namespace wt
