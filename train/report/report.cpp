#include "train/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "core/error.h"
#include "train/report/charts.h"
#include "train/report/html.h"
#include "train/report/report_parts.h"
#include "train/units.h"

namespace wt {
namespace {

constexpr const char* kMissing = "–";

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

bool has_value(const MetricSeries& series, bool above_zero) {
  return std::any_of(series.values.begin(), series.values.end(),
                     [&](double value) { return std::isfinite(value) && (!above_zero || value > 0); });
}

std::vector<CurveMark> stage_marks(const std::vector<RunRecord>& runs) {
  std::vector<CurveMark> marks;
  std::map<double, std::size_t> places;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const auto& [step, stage] : runs[r].metrics.stages) {
      const auto index = static_cast<std::size_t>(stage - 1);
      const std::string name = index < runs[r].stage_names.size() && !runs[r].stage_names[index].empty()
                                   ? ": " + runs[r].stage_names[index]
                                   : "";
      const std::string tooltip =
          cat(runs.size() > 1 ? runs[r].name + ", " : "", "stage ", stage, name, ", from step ", std::llround(step));
      // Runs that begin a stage at the same step share a grey line.
      const auto [place, is_new] = places.emplace(step, marks.size());
      if (is_new) {
        marks.push_back({step, std::to_string(stage), tooltip, runs.size() > 1 ? line_colour(r) : "axis"});
      } else {
        marks[place->second].tooltip += "; " + tooltip;
        marks[place->second].paint = "axis";
      }
    }
  }
  std::sort(marks.begin(), marks.end(), [](const CurveMark& a, const CurveMark& b) { return a.x < b.x; });
  return marks;
}

std::string curve_figure(const Figure& figure, const std::vector<RunRecord>& runs,
                         const std::vector<CurveMark>& marks) {
  std::vector<Curve> curves;
  bool is_drawn = false;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const MetricSeries& series = runs[r].metrics.of(figure.key);
    // A row of zeros is nothing to look at, for any of these figures.
    is_drawn = is_drawn || has_value(series, true);
    Curve curve;
    curve.name = runs[r].name;
    curve.colour = line_colour(r);
    curve.dashes = line_dashes(r);
    curve.x = series.steps;
    for (const double value : series.values) curve.y.push_back(value * figure.factor);
    curve.has_dots = series.steps.size() <= 60;  // more of them would touch
    if (figure.is_smoothed && series.steps.size() >= 80) {
      Curve faint = curve;
      faint.opacity = 0.3;
      faint.width = 1;
      faint.dashes = "";
      curves.push_back(faint);
      curve.y = smoothed(curve.y);
    }
    curves.push_back(std::move(curve));
  }
  if (!is_drawn) return "";
  CurveScale scale = figure.scale;
  scale.is_logarithmic = figure.is_logarithmic;
  return "<figure>" + curve_chart(figure.title, "step", curves, marks, scale).inline_str() + "</figure>\n";
}

std::string curves_section(const std::vector<RunRecord>& runs) {
  const std::vector<CurveMark> marks = stage_marks(runs);
  std::string charts;
  for (const Figure& figure : figures()) charts += curve_figure(figure, runs, marks);
  if (charts.empty()) return "";
  return "<section><h2>Training</h2>\n<p class=\"soft\">Upright lines begin a stage of the curriculum; point at one "
         "for its name. Loss, gradient norm and denominator have logarithmic axes; pale lines are what was measured, "
         "full ones its running mean.</p>\n<div class=\"charts\">\n" +
         charts + "</div></section>\n";
}

double largest(const MetricSeries& series) {
  double out = -1;
  for (const double value : series.values) {
    if (std::isfinite(value)) out = std::max(out, value);
  }
  return out;
}

double median(const MetricSeries& series) {
  std::vector<double> values;
  std::copy_if(series.values.begin(), series.values.end(), std::back_inserter(values),
               [](double value) { return std::isfinite(value); });
  if (values.empty()) return -1;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double last(const MetricSeries& series) {
  for (std::size_t i = series.values.size(); i-- > 0;) {
    if (std::isfinite(series.values[i])) return series.values[i];
  }
  return -1;
}

// A figure and its sort key; below 0 it is missing.
HtmlCell figure_cell(double value, const std::function<std::string(double)>& show) {
  return number_cell(value < 0 ? kMissing : show(value), value);
}

std::string summary_section(const std::vector<RunRecord>& runs) {
  HtmlTable table({"run", "steps", "stages", "best exact match", "at step", "last validation loss", "tokens/s, median",
                   "peak memory", "skipped steps"},
                  1);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunMetrics& m = runs[r].metrics;
    const MetricSeries& exact = m.of("validation_exact_match");
    const double best = largest(exact);
    double best_step = -1, steps = -1;
    for (std::size_t i = exact.steps.size(); i-- > 0;) {
      if (exact.values[i] == best) best_step = exact.steps[i];
    }
    for (const auto& [key, series] : m.series) steps = std::max(steps, series.steps.back());
    const auto whole = [](double value) { return fmt::format("{:.0f}", value); };
    const std::size_t total = runs[r].stage_names.size();
    const std::string stages =
        m.stages.empty() ? kMissing : cat(m.stages.back().second, total > 0 ? cat(" of ", total) : "");
    HtmlCell name = text_cell(runs[r].name);
    name.tooltip = runs[r].folder;
    name.before = run_key(r);
    table.add_row(
        {name, figure_cell(steps, whole), text_cell(stages),
         figure_cell(best, [](double value) { return fmt::format("{:.3f}", value); }), figure_cell(best_step, whole),
         figure_cell(last(m.of("validation_loss")), [](double value) { return fmt::format("{:.4g}", value); }),
         figure_cell(median(m.of("tokens_per_second")), human_count),
         figure_cell(largest(m.of("memory_bytes")),
                     [](double value) {
                       // Figures up to 1e30 are read; no machine has more than 2^63 bytes.
                       return human_bytes(static_cast<std::uint64_t>(std::min(value, 9.2e18)));
                     }),
         figure_cell(largest(m.of("skipped")), whole)});
  }
  return "<section><h2>Runs</h2>\n" + table.str() + "</section>\n";
}

std::string notes_section(const std::vector<RunRecord>& runs) {
  std::string items;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const std::string& note : runs[r].notes) {
      items += "<li>" + run_key(r) + "<b>" + html_escaped(runs[r].name) + "</b>: " + html_escaped(note) + "</li>\n";
    }
  }
  return items.empty() ? "" : "<div class=\"notes\"><ul>\n" + items + "</ul></div>\n";
}

std::string config_section(const std::vector<RunRecord>& runs) {
  std::string out = "<section><h2>Configuration</h2>\n";
  if (runs.size() > 1) {
    std::vector<std::string> columns{"key"};
    for (const RunRecord& run : runs) columns.push_back(run.name);
    HtmlTable table(columns, columns.size());
    for (const ConfigDifference& difference : config_differences(runs)) {
      std::vector<HtmlCell> cells{text_cell(difference.key)};
      for (const std::string& value : difference.values) cells.push_back(text_cell(value));
      table.add_row(std::move(cells));
    }
    out += "<h3>Differences</h3>\n";
    out += table.is_empty() ? "<p>None: the runs have the same configuration.</p>\n" : table.str();
  }
  for (std::size_t r = 0; r < runs.size(); ++r) {
    out += "<details><summary>" + run_key(r) + html_escaped(runs[r].name) + ": config.yaml, all keys</summary>\n<pre>" +
           html_escaped(runs[r].config_text) + "</pre></details>\n";
  }
  return out + "</section>\n";
}

std::string legend(const std::vector<RunRecord>& runs) {
  std::string out = "<nav class=\"legend\" aria-label=\"runs\">\n";
  for (std::size_t r = 0; r < runs.size(); ++r) {
    out += "<span class=\"run\">" + run_key(r) + html_escaped(runs[r].name) + "</span>\n";
  }
  return out + "</nav>\n";
}

}  // namespace

std::string run_key(std::size_t run) {
  const std::string dashes = line_dashes(run);
  return fmt::format(
      "<svg class=\"key\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><line x1=\"2\" y1=\"4\" x2=\"22\" y2=\"4\" "
      "stroke=\"{}\" stroke-width=\"4\" stroke-linecap=\"round\"{}/></svg>",
      line_colour(run), dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
}

std::vector<ConfigDifference> config_differences(const std::vector<RunRecord>& runs) {
  std::vector<ConfigDifference> out;
  std::set<std::string> seen;
  for (const RunRecord& run : runs) {
    for (const auto& entry : run.config) {
      const std::string& key = entry.first;
      if (key == "run.dir" || !seen.insert(key).second) continue;
      ConfigDifference difference{key, {}};
      bool is_same = true;
      const std::string* first = runs.front().config_value(key);
      for (const RunRecord& other : runs) {
        const std::string* value = other.config_value(key);
        is_same = is_same && (value == nullptr) == (first == nullptr) && (value == nullptr || *value == *first);
        difference.values.push_back(value == nullptr ? kMissing : *value);
      }
      if (!is_same) out.push_back(std::move(difference));
    }
  }
  return out;
}

std::string report_html(const std::string& title, const std::vector<RunRecord>& runs) {
  WT_CHECK(!runs.empty(), "report: no run");
  return html_page(title, "<header><h1>" + html_escaped(title) + "</h1></header>\n" + legend(runs) +
                              notes_section(runs) + summary_section(runs) + curves_section(runs) +
                              accuracy_section(runs) + answers_section(runs) + config_section(runs));
}

}  // namespace wt
