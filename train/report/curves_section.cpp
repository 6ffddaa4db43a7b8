// The curves of a report: figures over steps, tokens or hours, a colour for each group of runs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "train/report/charts.h"
#include "train/report/report_parts.h"

namespace wt {
namespace {

// What a chart of the curves shows.
struct Figure {
  const char* key;
  const char* title;
  double factor = 1;
  bool is_logarithmic = false;
  bool is_smoothed = false;
  CurveScale scale = {};
};

std::vector<Figure> figures() {
  return {
      {.key = "loss", .title = "Training loss", .is_logarithmic = true, .is_smoothed = true},
      {.key = "validation_loss", .title = "Validation loss", .is_logarithmic = true},
      {.key = "validation_exact_match",
       .title = "Validation: exact match, %",
       .factor = 100,
       .scale = {.is_logarithmic = false, .low = 0, .high = 100}},
      {.key = "lr", .title = "Learning rate", .scale = {.is_logarithmic = false, .low = 0, .high = {}}},
      {.key = "grad_norm", .title = "Gradient norm", .is_logarithmic = true, .is_smoothed = true},
      {.key = "tokens_per_second",
       .title = "Tokens per second",
       .is_smoothed = true,
       .scale = {.is_logarithmic = false, .low = 0, .high = {}}},
      {.key = "memory_bytes",
       .title = "Memory, MiB",
       .factor = 1.0 / (1 << 20),
       .scale = {.is_logarithmic = false, .low = 0, .high = {}}},
      {.key = "mfu",
       .title = "Share of the peak arithmetic rate, %",
       .factor = 100,
       .is_smoothed = true,
       .scale = {.is_logarithmic = false, .low = 0, .high = {}}},
      {.key = "min_denominator", .title = "Smallest denominator of a memory read", .is_logarithmic = true},
      {.key = "skipped", .title = "Steps skipped so far", .scale = {.is_logarithmic = false, .low = 0, .high = {}}},
  };
}

// Values that each count less the longer they are ago; begins anew after a gap.
std::vector<double> smoothed(const std::vector<double>& values) {
  const double share = 2 / (static_cast<double>(values.size()) / 40 + 1);
  std::vector<double> out = values;
  bool is_inside = false;
  double mean = 0;
  for (double& value : out) {
    if (std::isfinite(value)) {
      mean = is_inside ? mean + share * (value - mean) : value;
      value = mean;
    }
    is_inside = std::isfinite(value);
  }
  return out;
}

struct Axis {
  CurveAxis axis;
  const char* name;   // in the page's markup
  const char* title;  // what people read
};
constexpr Axis kAxes[] = {{CurveAxis::kSteps, "steps", "step"},
                          {CurveAxis::kTokens, "tokens", "tokens"},
                          {CurveAxis::kHours, "hours", "hours"}};

std::vector<CurveMark> stage_marks(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups,
                                   CurveAxis axis) {
  std::vector<CurveMark> marks;
  std::map<double, std::size_t> places;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const auto& [step, stage] : runs[r].metrics.stages) {
      const double x = axis_value(runs[r].metrics, axis, step);
      if (!std::isfinite(x)) continue;
      const auto index = static_cast<std::size_t>(stage - 1);
      const std::string name = index < runs[r].stage_names.size() && !runs[r].stage_names[index].empty()
                                   ? ": " + runs[r].stage_names[index]
                                   : "";
      const std::string tooltip =
          cat(runs.size() > 1 ? runs[r].name + ", " : "", "stage ", stage, name, ", from step ", std::llround(step));
      // Runs that begin a stage at the same place share a grey line.
      const auto [place, is_new] = places.emplace(x, marks.size());
      if (is_new) {
        marks.push_back(
            {x, std::to_string(stage), tooltip, runs.size() > 1 ? line_colour(group_of(groups, r)) : "axis"});
      } else {
        marks[place->second].tooltip += "; " + tooltip;
        marks[place->second].paint = "axis";
      }
    }
  }
  std::sort(marks.begin(), marks.end(), [](const CurveMark& a, const CurveMark& b) { return a.x < b.x; });
  return marks;
}

std::string curve_figure(const Figure& figure, const Axis& axis, const std::vector<RunRecord>& runs,
                         const std::vector<RunGroup>& groups, const std::vector<CurveMark>& marks) {
  std::vector<Curve> curves;
  bool is_drawn = false;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    GroupCurve values = group_curve(runs, groups[g], figure.key, axis.axis);
    // A row of zeros is nothing to look at, for any of these figures.
    is_drawn = is_drawn || std::any_of(values.mean.begin(), values.mean.end(),
                                       [](double value) { return std::isfinite(value) && value > 0; });
    for (auto* list : {&values.mean, &values.low, &values.high}) {
      for (double& value : *list) value *= figure.factor;
    }
    Curve curve;
    curve.name = groups[g].name;
    curve.colour = line_colour(g);
    curve.dashes = line_dashes(g);
    curve.x = std::move(values.x);
    curve.y = std::move(values.mean);
    curve.has_dots = curve.x.size() <= 60;  // more of them would touch
    if (figure.is_smoothed && curve.x.size() >= 80) {
      if (values.low.empty()) {
        Curve faint = curve;
        faint.opacity = 0.3;
        faint.width = 1;
        faint.dashes = "";
        curves.push_back(faint);
      }
      curve.y = smoothed(curve.y);
      values.low = smoothed(values.low);
      values.high = smoothed(values.high);
    }
    curve.low = std::move(values.low);
    curve.high = std::move(values.high);
    curves.push_back(std::move(curve));
  }
  if (!is_drawn) return "";
  CurveScale scale = figure.scale;
  scale.is_logarithmic = figure.is_logarithmic;
  return "<figure>" + curve_chart(figure.title, axis.title, curves, marks, scale).inline_str() + "</figure>\n";
}

// Whether a run says where its steps lie on the axis.
bool has_axis(const std::vector<RunRecord>& runs, CurveAxis axis) {
  return std::any_of(runs.begin(), runs.end(), [&](const RunRecord& run) {
    return !run.metrics.stages.empty() &&
           std::isfinite(axis_value(run.metrics, axis, run.metrics.stages.front().first));
  });
}

}  // namespace

std::string curves_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups) {
  // A choice of axes that needs no script: the style sheet shows the charts of the one that is chosen.
  std::string choice, panels;
  for (const Axis& axis : kAxes) {
    if (axis.axis != CurveAxis::kSteps && !has_axis(runs, axis.axis)) continue;
    const std::vector<CurveMark> marks = stage_marks(runs, groups, axis.axis);
    std::string charts;
    for (const Figure& figure : figures()) charts += curve_figure(figure, axis, runs, groups, marks);
    if (charts.empty()) continue;
    choice +=
        fmt::format("<input type=\"radio\" name=\"axis\" id=\"axis-{0}\"{1}/><label for=\"axis-{0}\">{0}</label>\n",
                    axis.name, panels.empty() ? " checked=\"checked\"" : "");
    panels += fmt::format("<div class=\"charts over over-{}\">\n{}</div>\n", axis.name, charts);
  }
  if (panels.empty()) return "";
  const bool has_bands =
      std::any_of(groups.begin(), groups.end(), [](const RunGroup& group) { return group.runs.size() > 1; });
  return cat(
      "<section class=\"curves\"><h2>Training</h2>\n<p class=\"soft\">Upright lines begin a stage of the curriculum; "
      "point at one for its name. Loss, gradient norm and denominator have logarithmic axes; pale lines are what "
      "was measured, full ones its running mean.",
      has_bands ? " Runs that differ in their seeds only are one line, their mean, in a band from the smallest to "
                  "the largest."
                : "",
      "</p>\nCounted in\n", choice, panels, "</section>\n");
}

}  // namespace wt
