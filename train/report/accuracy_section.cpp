// Accuracy, speed and memory of a report's evaluations.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/utf8.h"
#include "train/eval/accuracy.h"
#include "train/report/charts.h"
#include "train/report/html.h"
#include "train/report/report_parts.h"
#include "train/units.h"

namespace wt {
namespace {

// The tasks and lengths of all runs, and where in `runs` their results are.
struct Evaluations {
  std::vector<std::string> tasks, lengths;  // tasks in the order of the files, lengths from short to long
  std::map<std::pair<std::string, std::string>, std::vector<const EvalRow*>> rows;  // by run; null where it has none

  // What guessing gives in a task, where that is known.
  std::optional<double> chance(const std::string& task) const {
    for (const std::string& length : lengths) {
      const auto found = rows.find({task, length});
      if (found == rows.end()) continue;
      for (const EvalRow* row : found->second) {
        if (row != nullptr && row->chance) return row->chance;
      }
    }
    return std::nullopt;
  }

  const EvalRow* of(std::size_t run, const std::string& task, const std::string& length) const {
    const auto found = rows.find({task, length});
    return found == rows.end() ? nullptr : found->second[run];
  }
};

template <class T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Evaluations collect(const std::vector<RunRecord>& runs) {
  Evaluations out;
  std::map<std::string, std::pair<double, double>> tokens;  // length: tokens and samples, of all its rows
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const EvalRow& row : runs[r].evaluation) {
      if (!contains(out.tasks, row.task)) out.tasks.push_back(row.task);
      if (!contains(out.lengths, row.length)) out.lengths.push_back(row.length);
      auto& cells = out.rows[{row.task, row.length}];
      cells.resize(runs.size(), nullptr);
      cells[r] = &row;
      tokens[row.length].first += static_cast<double>(row.prompt_tokens);
      tokens[row.length].second += static_cast<double>(row.samples);
    }
  }
  const auto mean = [&](const std::string& length) { return tokens[length].first / tokens[length].second; };
  std::stable_sort(out.lengths.begin(), out.lengths.end(),
                   [&](const std::string& a, const std::string& b) { return mean(a) < mean(b); });
  return out;
}

// How many of a row's samples are right, or nothing.
using Metric = std::optional<std::int64_t> (*)(const EvalRow&);

std::optional<std::int64_t> exact_match(const EvalRow& row) {
  return row.correct;
}
std::optional<std::int64_t> official_metric(const EvalRow& row) {
  return row.has_official ? std::optional(row.official) : std::nullopt;
}

// Shares from 0 to 1 of a group's runs: their mean, and where the truth may lie: for one run Wilson's interval, for
// several from the smallest to the largest.
struct Share {
  double mean = 0;
  std::optional<Interval> range;
  std::string tooltip;
};

Share share_of(const std::vector<double>& shares, const std::string& tooltip) {
  Share out{std::accumulate(shares.begin(), shares.end(), 0.0) / static_cast<double>(shares.size()), {}, tooltip};
  if (shares.size() > 1) {
    const auto [low, high] = std::minmax_element(shares.begin(), shares.end());
    out.range = {*low, *high};
  }
  return out;
}

std::optional<Share> share_of(const Evaluations& all, const RunGroup& group, const std::string& task,
                              const std::string& length, Metric metric) {
  std::vector<double> shares;
  std::string each;
  const EvalRow* any = nullptr;
  for (const std::size_t r : group.runs) {
    const EvalRow* row = all.of(r, task, length);
    const auto correct = row == nullptr ? std::nullopt : metric(*row);
    if (!correct) continue;
    any = row;
    shares.push_back(static_cast<double>(*correct) / static_cast<double>(row->samples));
    each += fmt::format("{}{:.1f}", each.empty() ? "" : ", ", 100 * shares.back());
  }
  if (any == nullptr) return std::nullopt;
  Share out = share_of(shares, cat(any->samples, " samples, ", any->prompt_tokens / any->samples, " tokens each",
                                   shares.size() > 1 ? "; " + each : ""));
  if (group.runs.size() == 1) out.range = wilson_interval(*metric(*any), any->samples);
  return out;
}

// The mean over all tasks; nothing where one of them is missing in every run, since means of other tasks do not
// compare.
std::optional<Share> mean_over_tasks(const Evaluations& all, const RunGroup& group, const std::string& length,
                                     Metric metric) {
  std::vector<double> means;
  for (const std::size_t r : group.runs) {
    double sum = 0;
    bool is_whole = true;
    for (const std::string& task : all.tasks) {
      const EvalRow* row = all.of(r, task, length);
      const auto correct = row == nullptr ? std::nullopt : metric(*row);
      is_whole = is_whole && correct.has_value();
      if (is_whole) sum += static_cast<double>(*correct) / static_cast<double>(row->samples);
    }
    if (is_whole) means.push_back(sum / static_cast<double>(all.tasks.size()));
  }
  return means.empty() ? std::nullopt : std::optional(share_of(means, "mean over the tasks"));
}

HtmlCell share_cell(const std::optional<Share>& share) {
  HtmlCell cell;
  cell.text = share ? fmt::format("{:.1f}", 100 * share->mean) : kMissing;
  cell.sort_key = fmt::format("{}", share ? share->mean : -1);
  if (!share) return cell;
  if (share->range) cell.text += fmt::format(" ({:.0f}–{:.0f})", 100 * share->range->low, 100 * share->range->high);
  cell.tooltip = share->tooltip;
  const Rgb colour = accuracy_colour(share->mean);
  cell.style = cat("background:", colour.hex(), ";color:", words_on(colour));
  return cell;
}

HtmlCell run_cell(std::size_t group, const std::string& name) {
  HtmlCell cell;
  cell.text = name;
  cell.before = run_key(group);
  return cell;
}

std::string accuracy_table(const std::vector<RunGroup>& groups, const Evaluations& all, Metric metric) {
  std::vector<std::string> columns{"run", "task"};
  columns.insert(columns.end(), all.lengths.begin(), all.lengths.end());
  HtmlTable table(columns, 2);
  const auto add_row = [&](std::size_t g, const std::string& name, const auto& share) {
    std::vector<HtmlCell> cells{run_cell(g, groups[g].name), text_cell(name)};
    for (const std::string& length : all.lengths) cells.push_back(share_cell(share(length)));
    table.add_row(std::move(cells));
  };
  for (const std::string& task : all.tasks) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      add_row(g, task, [&](const std::string& length) { return share_of(all, groups[g], task, length, metric); });
    }
  }
  for (std::size_t g = 0; all.tasks.size() > 1 && g < groups.size(); ++g) {
    add_row(g, "mean", [&](const std::string& length) { return mean_over_tasks(all, groups[g], length, metric); });
  }
  return table.str();
}

// A run's name at the end of its line; the legend has it in full.
std::string short_name(const std::string& name) {
  constexpr std::size_t kBytes = 24;
  const std::string text = utf8_repaired(name);
  if (text.size() <= kBytes) return text;
  const std::string head = text.substr(0, kBytes);
  return head.substr(0, utf8_valid_until(head, 0)) + "…";
}

// A value and where it may lie.
using ChartPoint = std::pair<double, std::optional<std::pair<double, double>>>;

// A line for each group, so that colours are the same in all charts; nothing where there is no value at all.
std::string length_chart(const std::string& title, const std::vector<RunGroup>& groups, const Evaluations& all,
                         const std::function<std::optional<ChartPoint>(std::size_t, const std::string&)>& point,
                         ChartScale scale) {
  std::vector<ChartLine> lines;
  double top = 0;
  bool is_empty = true;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    ChartLine line{short_name(groups[g].name), {}, {}};
    for (const std::string& length : all.lengths) {
      const std::optional<ChartPoint> at = point(g, length);
      line.values.push_back(at ? std::optional(at->first) : std::nullopt);
      line.ranges.push_back(at ? at->second : std::nullopt);
      if (!at) continue;
      top = std::max(top, at->first);
      is_empty = false;
    }
    lines.push_back(std::move(line));
  }
  if (is_empty) return "";
  if (scale.top <= 0) {
    const std::vector<double> ticks = axis_ticks(0, std::max(top, 1e-9), 5, false);
    scale.step = ticks[1];
    scale.top = std::ceil(top / scale.step) * scale.step;
  }
  return "<figure>" + line_chart(title, "", "context length", all.lengths, lines, scale).inline_str() + "</figure>\n";
}

std::string accuracy_charts(const std::vector<RunGroup>& groups, const Evaluations& all, Metric metric,
                            const std::string& name) {
  const ChartScale percent{.title = name + ", %"};
  const auto per_cent = [](const std::optional<Share>& share) -> std::optional<ChartPoint> {
    if (!share) return std::nullopt;
    ChartPoint point{100 * share->mean, std::nullopt};
    if (share->range) point.second = {100 * share->range->low, 100 * share->range->high};
    return point;
  };
  std::string charts;
  for (const std::string& task : all.tasks) {
    ChartScale scale = percent;
    if (const std::optional<double> chance = all.chance(task)) scale.chance = 100 * *chance;
    charts += length_chart(
        task == "-" ? "all" : task, groups, all,
        [&](std::size_t g, const std::string& length) {
          return per_cent(share_of(all, groups[g], task, length, metric));
        },
        scale);
  }
  if (all.tasks.size() == 1) return "<div class=\"charts\">\n" + charts + "</div>\n";
  const std::string mean = length_chart(
      "Mean over the tasks", groups, all,
      [&](std::size_t g, const std::string& length) {
        return per_cent(mean_over_tasks(all, groups[g], length, metric));
      },
      percent);
  return (mean.empty() ? "" : "<div class=\"charts\">\n" + mean + "</div>\n") +
         "<details open=\"open\"><summary>Each task</summary>\n<div class=\"charts\">\n" + charts +
         "</div></details>\n";
}

std::string speed_part(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups,
                       const Evaluations& all) {
  // Over the tasks and the group's runs: tokens and seconds of all, the highest peak.
  const auto sum = [&](std::size_t g, const std::string& length) {
    EvalRow total;
    for (const std::string& task : all.tasks) {
      for (const std::size_t r : groups[g].runs) {
        const EvalRow* row = all.of(r, task, length);
        if (row == nullptr || row->seconds <= 0) continue;
        total.prompt_tokens += row->prompt_tokens;
        total.seconds += row->seconds;
        total.peak_bytes = std::max(total.peak_bytes, row->peak_bytes);
      }
    }
    return total;
  };
  const auto speed = [&](std::size_t g, const std::string& length) -> std::optional<ChartPoint> {
    const double rate = sum(g, length).tokens_per_second();
    return rate > 0 ? std::optional(ChartPoint{rate / 1000, {}}) : std::nullopt;
  };
  const auto memory = [&](std::size_t g, const std::string& length) -> std::optional<ChartPoint> {
    const std::uint64_t bytes = sum(g, length).peak_bytes;
    return bytes > 0 ? std::optional(ChartPoint{static_cast<double>(bytes) / (1 << 20), {}}) : std::nullopt;
  };
  std::string out = "<h3>Speed and memory</h3>\n<div class=\"charts\">\n";
  out += length_chart("Reading speed", groups, all, speed,
                      {.title = "thousand tokens/s", .unit = "k tokens/s", .top = 0, .step = 0});
  out += length_chart("Peak tensor memory", groups, all, memory, {.title = "MiB", .unit = " MiB", .top = 0, .step = 0});
  out += "</div>\n";
  HtmlTable table({"run", "task", "length", "tokens", "samples", "exact match", "official", "tokens/s", "peak memory"},
                  3);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const EvalRow& row : runs[r].evaluation) {
      const auto tokens = static_cast<double>(row.prompt_tokens) / static_cast<double>(row.samples);
      HtmlCell length = number_cell(row.length, tokens);
      table.add_row({run_cell(group_of(groups, r), runs[r].name), text_cell(row.task), length,
                     number_cell(fmt::format("{:.0f}", tokens), tokens),
                     number_cell(std::to_string(row.samples), static_cast<double>(row.samples)),
                     number_cell(fmt::format("{:.3f}", row.accuracy()), row.accuracy()),
                     row.has_official
                         ? number_cell(fmt::format("{:.3f}", row.official_accuracy()), row.official_accuracy())
                         : number_cell(kMissing, -1),
                     number_cell(human_count(row.tokens_per_second()), row.tokens_per_second()),
                     number_cell(human_bytes(row.peak_bytes), static_cast<double>(row.peak_bytes))});
    }
  }
  return out + table.str();
}

}  // namespace

std::string accuracy_section(const std::vector<RunRecord>& runs, const std::vector<RunGroup>& groups) {
  const Evaluations all = collect(runs);
  if (all.rows.empty()) return "";
  std::string out =
      "<section><h2>Accuracy by length and task</h2>\n<p class=\"soft\">In brackets: Wilson's 95 % interval of one "
      "run's "
      "samples; of runs that differ in their seeds only, the smallest and largest beside their mean.</p>\n<h3>Exact "
      "match, %</h3>\n" +
      accuracy_table(groups, all, exact_match) + accuracy_charts(groups, all, exact_match, "exact match");
  bool differs = false;
  for (const RunRecord& run : runs) {
    for (const EvalRow& row : run.evaluation) differs = differs || (row.has_official && row.official != row.correct);
  }
  out += differs ? "<h3>BABILong's metric, %</h3>\n" + accuracy_table(groups, all, official_metric) +
                       accuracy_charts(groups, all, official_metric, "accuracy")
                 : "<p class=\"soft\">BABILong's metric counts the same answers as right, where it was taken.</p>\n";
  return out + speed_part(runs, groups, all) + "</section>\n";
}

}  // namespace wt
