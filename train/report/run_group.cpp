#include "train/report/run_group.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "core/error.h"

namespace wt {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

bool is_seed(const std::string& key) {
  return key.rfind("seed.", 0) == 0;
}

// The run's seeds, or all else that must be the same within a group, as one text.
std::string settings(const RunRecord& run, bool seeds) {
  std::string out;
  for (const auto& [key, value] : run.config) {
    if (key != "run.dir" && is_seed(key) == seeds) out += key + '\0' + value + '\0';
  }
  return out;
}

// The folder that holds all of them where it is not the working directory's own, else the first run's name.
std::string shared_name(const std::vector<RunRecord>& runs, const RunGroup& group) {
  std::set<std::filesystem::path> parents;
  for (const std::size_t r : group.runs) parents.insert(std::filesystem::path(runs[r].folder).parent_path());
  const std::string parent = parents.size() == 1 ? parents.begin()->filename().string() : "";
  return cat(parent.empty() ? runs[group.runs.front()].name : parent, " (", group.runs.size(), " seeds)");
}

// On the line between the neighbours of x; NaN outside of the points.
double between(const std::vector<double>& x, const std::vector<double>& y, double at) {
  const auto above = std::lower_bound(x.begin(), x.end(), at);
  if (above == x.end()) return kNone;
  const auto i = static_cast<std::size_t>(above - x.begin());
  if (x[i] == at) return y[i];
  if (i == 0) return kNone;
  return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]);
}

// The run's figure over the axis; points without a place on it are left out.
MetricSeries on_axis(const RunMetrics& metrics, const std::string& key, CurveAxis axis) {
  const MetricSeries& series = metrics.of(key);
  if (axis == CurveAxis::kSteps) return series;
  MetricSeries out;
  for (std::size_t i = 0; i < series.steps.size(); ++i) {
    const double x = axis_value(metrics, axis, series.steps[i]);
    // A clock that was set back must not turn the curve around.
    if (std::isnan(x) || (!out.steps.empty() && x <= out.steps.back())) continue;
    out.steps.push_back(x);
    out.values.push_back(series.values[i]);
  }
  return out;
}

}  // namespace

std::vector<RunGroup> group_by_seed(const std::vector<RunRecord>& runs) {
  std::vector<RunGroup> groups;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const auto fits = [&](const RunGroup& group) {
      return !runs[r].config.empty() && settings(runs[r], false) == settings(runs[group.runs.front()], false) &&
             std::all_of(group.runs.begin(), group.runs.end(),
                         [&](std::size_t other) { return settings(runs[r], true) != settings(runs[other], true); });
    };
    const auto found = std::find_if(groups.begin(), groups.end(), fits);
    if (found == groups.end()) {
      groups.push_back({runs[r].name, {r}});
    } else {
      found->runs.push_back(r);
    }
  }
  for (RunGroup& group : groups) {
    if (group.runs.size() > 1) group.name = shared_name(runs, group);
  }
  return groups;
}

double axis_value(const RunMetrics& metrics, CurveAxis axis, double step) {
  if (axis == CurveAxis::kSteps) return step;
  const MetricSeries& series = metrics.of(axis == CurveAxis::kTokens ? "tokens" : "seconds");
  if (series.steps.empty()) return kNone;
  // Before the first line that says it, as if the run had gone evenly from nothing.
  const double value = step < series.steps.front() ? series.values.front() * step / series.steps.front()
                                                   : between(series.steps, series.values, step);
  return axis == CurveAxis::kHours ? value / 3600 : value;
}

GroupCurve group_curve(const std::vector<RunRecord>& runs, const RunGroup& group, const std::string& key,
                       CurveAxis axis) {
  std::vector<MetricSeries> members;
  std::set<double> places;
  for (const std::size_t r : group.runs) {
    members.push_back(on_axis(runs[r].metrics, key, axis));
    places.insert(members.back().steps.begin(), members.back().steps.end());
  }
  GroupCurve out;
  if (members.size() == 1) {
    out.x = std::move(members.front().steps);
    out.mean = std::move(members.front().values);
    return out;
  }
  for (const double x : places) {
    double sum = 0, low = std::numeric_limits<double>::infinity(), high = -low;
    int count = 0;
    for (const MetricSeries& member : members) {
      if (member.steps.empty() || x < member.steps.front() || x > member.steps.back()) continue;
      const double value = between(member.steps, member.values, x);
      sum += value;
      low = std::min(low, value);
      high = std::max(high, value);
      ++count;
    }
    const bool finite = std::isfinite(sum);
    out.x.push_back(x);
    out.mean.push_back(finite ? sum / count : kNone);
    out.low.push_back(finite ? low : kNone);
    out.high.push_back(finite ? high : kNone);
  }
  return out;
}

}  // namespace wt
