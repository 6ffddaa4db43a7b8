// Scores of a folder of results in the leaderboard's layout (train/eval/official_results.h), whoever wrote them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/report/charts.h"

namespace wt {

struct ScoreCell {
  std::string task, length, config;
  std::int64_t samples = 0, correct = 0;  // correct by BABILong's metric (data/babilong_metric.h)
  double accuracy() const { return samples == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(samples); }
};

// Reads every TASK_LENGTH_CONFIG.csv of the folder (not of the folders in it). `report` hears of .csv files that are
// called something else, which are left out. Sorted by configuration, task and length. Throws Error "path:line: …" for
// a file that is no such CSV, has no sample or a sample without target; UsageError where the folder has no such file.
// (pandas takes an output that is exactly "None", "NA", "null" or the like for a missing one; here it is text.)
std::vector<ScoreCell> score_folder(const std::string& folder,
                                    const std::function<void(const std::string&)>& report = {});

// A grid for each configuration. Averages are over tasks and lengths, not samples, and stand only where no cell of
// their row or column is missing.
std::vector<HeatmapPanel> score_panels(const std::vector<ScoreCell>& cells);
// The same as text: per cent with half the width of Wilson's 95 % interval, "-" where there is nothing.
std::string score_table(const std::vector<ScoreCell>& cells);
// task,length,config,samples,correct,accuracy, and its 95 % interval: accuracy_low,accuracy_high
std::string score_csv(const std::vector<ScoreCell>& cells);

}  // namespace wt
