#include "train/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "core/error.h"
#include "train/report/charts.h"
#include "train/report/html.h"
#include "train/report/report_parts.h"
#include "train/units.h"

namespace wt {
namespace {

double largest(const MetricSeries& series) {
  double out = -1;
  for (const double value : series.values) {
    if (std::isfinite(value)) out = std::max(out, value);
  }
  return out;
}

// What was measured from the first step of the last stage on: figures of other stages ask for other things.
MetricSeries of_last_stage(const RunMetrics& metrics, const MetricSeries& series) {
  const double from = metrics.stages.empty() ? 0 : metrics.stages.back().first;
  MetricSeries out;
  for (std::size_t i = 0; i < series.steps.size(); ++i) {
    if (series.steps[i] < from) continue;
    out.steps.push_back(series.steps[i]);
    out.values.push_back(series.values[i]);
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

std::string summary_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups) {
  HtmlTable table({"run", "steps", "stages", "best of the last stage", "at step", "last validation loss",
                   "tokens/s, median", "peak memory", "skipped steps"},
                  1);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunMetrics& m = runs[r].metrics;
    const MetricSeries exact = of_last_stage(m, m.of("validation_exact_match"));
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
    name.before = run_key(group_of(groups, r));
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

std::string notes_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups) {
  std::string items;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const std::string& note : runs[r].notes) {
      items += "<li>" + run_key(group_of(groups, r)) + "<b>" + html_escaped(runs[r].name) +
               "</b>: " + html_escaped(note) + "</li>\n";
    }
  }
  return items.empty() ? "" : "<div class=\"notes\"><ul>\n" + items + "</ul></div>\n";
}

std::string config_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups) {
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
    out += "<details><summary>" + run_key(group_of(groups, r)) + html_escaped(runs[r].name) +
           ": config.yaml, all keys</summary>\n<pre>" + html_escaped(runs[r].config_text) + "</pre></details>\n";
  }
  return out + "</section>\n";
}

std::string legend(const std::vector<RunGroup>& groups) {
  std::string out = "<nav class=\"legend\" aria-label=\"runs\">\n";
  for (std::size_t g = 0; g < groups.size(); ++g) {
    out += "<span class=\"run\">" + run_key(g) + html_escaped(groups[g].name) + "</span>\n";
  }
  return out + "</nav>\n";
}

}  // namespace

std::size_t group_of(const std::vector<RunGroup>& groups, std::size_t run) {
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const RunGroup& group) {
    return std::find(group.runs.begin(), group.runs.end(), run) != group.runs.end();
  });
  WT_CHECK(found != groups.end(), "report: run ", run, " is in no group");
  return static_cast<std::size_t>(found - groups.begin());
}

std::string run_key(std::size_t group) {
  const std::string dashes = line_dashes(group);
  return fmt::format(
      "<svg class=\"key\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><line x1=\"2\" y1=\"4\" x2=\"22\" y2=\"4\" "
      "stroke=\"{}\" stroke-width=\"4\" stroke-linecap=\"round\"{}/></svg>",
      line_colour(group), dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
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
  const std::vector<RunGroup> groups = group_by_seed(runs);
  return html_page(title, "<header><h1>" + html_escaped(title) + "</h1></header>\n" + legend(groups) +
                              notes_section(runs, groups) + summary_section(runs, groups) +
                              curves_section(runs, groups) + accuracy_section(runs, groups) + answers_section(runs) +
                              config_section(runs, groups));
}

}  // namespace wt
