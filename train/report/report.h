// Runs as one HTML page: curves, accuracy by length and task, answers, configurations, side by side.
#pragma once

#include <string>
#include <vector>

#include "train/report/run_record.h"

namespace wt {

// A run has one colour everywhere. All text that comes from runs is escaped. Throws Error where there is no run.
std::string report_html(const std::string& title, const std::vector<RunRecord>& runs);

// Keys whose values are not the same in all runs, with each run's value ("–" where a run lacks the key); run.dir, which
// says only which run it is, is left out.
struct ConfigDifference {
  std::string key;
  std::vector<std::string> values;
};
std::vector<ConfigDifference> config_differences(const std::vector<RunRecord>& runs);

}  // namespace wt
