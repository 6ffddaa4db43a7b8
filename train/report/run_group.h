// Runs that differ in their seeds only, as one: what a report shows as mean and band.
#pragma once

#include <string>
#include <vector>

#include "train/report/run_record.h"

namespace wt {

struct RunGroup {
  std::string name;               // of the run, or of what its runs share, with their number
  std::vector<std::size_t> runs;  // in the order of the report; at least one
};

// In the order of their first runs. Runs belong together where all keys of their configurations but `seed.…` and
// `run.dir` have the same values, and some seed differs.
std::vector<RunGroup> group_by_seed(const std::vector<RunRecord>& runs);

// What a curve's x is counted in.
enum class CurveAxis : unsigned char { kSteps, kTokens, kHours };

// A group's figure: of one run its values as they are; of several the mean over the runs at every x that one of them
// has (between two of its own points a run's value lies on the line between them), with the smallest and largest.
// NaN where some run that has begun and not ended has no finite value.
struct GroupCurve {
  std::vector<double> x, mean, low, high;  // low and high are empty for one run
};
GroupCurve group_curve(const std::vector<RunRecord>& runs, const RunGroup& group, const std::string& key,
                       CurveAxis axis);

// A step's place on the axis, by the run's own figures ("tokens", "seconds"); NaN where it has none.
double axis_value(const RunMetrics& metrics, CurveAxis axis, double step);

}  // namespace wt
