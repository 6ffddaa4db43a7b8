#include "train/eval/score.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "core/error.h"
#include "core/text.h"
#include "data/babi/stories.h"
#include "data/babilong_metric.h"
#include "data/csv.h"
#include "train/config.h"
#include "train/eval/accuracy.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// Tokens before multiples of the trained length, then by size.
std::tuple<bool, std::int64_t> length_order(const std::string& length) {
  const EvalLength parsed = parse_eval_length(length);
  return {parsed.is_multiple, parsed.amount};
}

// The parts of "qa1_4k_some_name"; false for a file that is called something else altogether. Throws Error where only
// the task's number or the length is impossible.
bool parse_name(const std::string& path, const std::string& stem, ScoreCell& cell) {
  const std::size_t first = stem.find('_');
  const bool is_task = stem.size() > 2 && stem.starts_with("qa") && stem[2] >= '0' && stem[2] <= '9';
  if (!is_task || first == std::string::npos) return false;
  const std::size_t second = std::min(stem.find('_', first + 1), stem.size());
  cell.task = stem.substr(0, first);
  cell.length = stem.substr(first + 1, second - first - 1);
  cell.config = second < stem.size() ? stem.substr(second + 1) : "";
  try {
    babi_task_number(cell.task);
    length_order(cell.length);
  } catch (const UsageError& error) {
    throw Error(cat(path, ": expected a name like qa1_4k_CONFIG.csv: ", error.what()));
  }
  return true;
}

void read_cell(const std::string& path, ScoreCell& cell) {
  const CsvTable table = read_csv(path);
  const std::size_t target = table.column("target"), output = table.column("output"),
                    question = table.column("question");
  for (const CsvRow& row : table.rows) {
    // An output that is missing is an empty one; a file that was cut is not scored.
    if (row.given <= std::max(target, question)) {
      throw Error(cat(path, ":", row.line, ": a row of ", row.given, row.given == 1 ? " field" : " fields",
                      ", the header has ", table.header.fields.size()));
    }
    if (trimmed(row.fields[target]).empty()) throw Error(cat(path, ":", row.line, ": the target is empty"));
    ++cell.samples;
    if (babilong_correct(cell.task, row.fields[target], row.fields[output], row.fields[question])) ++cell.correct;
  }
  if (cell.samples == 0) throw Error(cat(path, ":", table.header.line, ": no sample below the column names"));
}

// The mean of the cells, or nothing where one is missing.
HeatmapCell mean_of(const std::string& name, const std::vector<const HeatmapCell*>& cells) {
  double sum = 0;
  for (const HeatmapCell* cell : cells) {
    if (!cell->share) return {};
    sum += *cell->share;
  }
  const double mean = sum / static_cast<double>(cells.size());
  return {mean, fmt::format("{}: {:.1f} %", name, 100 * mean), 0};
}

HeatmapPanel panel_of(const std::vector<ScoreCell>& cells) {
  HeatmapPanel panel;
  panel.title = cells.front().config;
  std::vector<std::pair<int, std::string>> tasks;
  for (const ScoreCell& cell : cells) {
    tasks.emplace_back(babi_task_number(cell.task), cell.task);
    panel.columns.push_back(cell.length);
  }
  const auto unique = [](auto& list, const auto& before) {
    std::sort(list.begin(), list.end(), before);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  };
  unique(tasks, std::less<>());
  // "4k" and "4000" are columns of their own, side by side.
  unique(panel.columns, [](const std::string& a, const std::string& b) {
    return std::make_pair(length_order(a), a) < std::make_pair(length_order(b), b);
  });
  for (const auto& [number, task] : tasks) panel.rows.push_back(task);
  panel.cells.assign(panel.rows.size(), std::vector<HeatmapCell>(panel.columns.size()));
  for (const ScoreCell& cell : cells) {
    const auto row = std::find(panel.rows.begin(), panel.rows.end(), cell.task) - panel.rows.begin();
    const auto column = std::find(panel.columns.begin(), panel.columns.end(), cell.length) - panel.columns.begin();
    const Interval interval = wilson_interval(cell.correct, cell.samples);
    panel.cells[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] = {
        cell.accuracy(),
        fmt::format("{} {}: {:.1f} %, {} of {}; 95 % interval {:.1f} to {:.1f} %", cell.task, cell.length,
                    100 * cell.accuracy(), cell.correct, cell.samples, 100 * interval.low, 100 * interval.high),
        (interval.high - interval.low) / 2};
  }
  std::vector<const HeatmapCell*> all;
  for (std::size_t row = 0; row < panel.rows.size(); ++row) {
    std::vector<const HeatmapCell*> line;
    for (const HeatmapCell& cell : panel.cells[row]) line.push_back(&cell);
    panel.row_averages.push_back(mean_of("mean of " + panel.rows[row], line));
    all.insert(all.end(), line.begin(), line.end());
  }
  for (std::size_t column = 0; column < panel.columns.size(); ++column) {
    std::vector<const HeatmapCell*> line;
    for (const auto& row : panel.cells) line.push_back(&row[column]);
    panel.column_averages.push_back(mean_of("mean at " + panel.columns[column], line));
  }
  panel.average = mean_of("mean of all", all);
  return panel;
}

}  // namespace

std::vector<ScoreCell> score_folder(const std::string& folder, const std::function<void(const std::string&)>& report) {
  std::error_code error;
  std::vector<std::string> paths;
  bool has_folders = false;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    has_folders = has_folders || it->is_directory();
    if (!it->is_directory() && it->path().extension() == ".csv") paths.push_back(it->path().string());
  }
  if (error) throw UsageError(cat(folder, ": cannot be listed: ", error.message()));
  std::sort(paths.begin(), paths.end());
  std::vector<ScoreCell> cells;
  for (const std::string& path : paths) {
    ScoreCell cell;
    if (!parse_name(path, fs::path(path).stem().string(), cell)) {
      if (report) report(cat(path, ": left out, not named TASK_LENGTH_CONFIG.csv"));
      continue;
    }
    read_cell(path, cell);
    cells.push_back(std::move(cell));
  }
  if (cells.empty()) {
    throw UsageError(cat(folder, ": no file named TASK_LENGTH_CONFIG.csv (qa1_4k_bare.csv, say)",
                         has_folders ? "; name one of the folders in it" : ""));
  }
  const auto key = [](const ScoreCell& cell) {
    return std::make_tuple(cell.config, babi_task_number(cell.task), length_order(cell.length), cell.length);
  };
  std::sort(cells.begin(), cells.end(), [&](const ScoreCell& a, const ScoreCell& b) { return key(a) < key(b); });
  return cells;
}

std::vector<HeatmapPanel> score_panels(const std::vector<ScoreCell>& cells) {
  std::vector<HeatmapPanel> panels;
  for (auto first = cells.begin(); first != cells.end();) {
    const auto last = std::find_if(first, cells.end(), [&](const ScoreCell& c) { return c.config != first->config; });
    panels.push_back(panel_of({first, last}));
    first = last;
  }
  return panels;
}

std::string score_table(const std::vector<ScoreCell>& cells) {
  const auto shown = [](const HeatmapCell& cell) {
    if (!cell.share) return std::string("-");
    return fmt::format("{:.1f}{}", 100 * *cell.share, cell.error > 0 ? fmt::format("±{:.0f}", 100 * cell.error) : "");
  };
  std::string out;
  for (const HeatmapPanel& panel : score_panels(cells)) {
    out += cat(out.empty() ? "" : "\n", panel.title.empty() ? "" : cat(panel.title, "\n"));
    out += fmt::format("{:<6}", "task");
    for (const std::string& column : panel.columns) out += fmt::format(" {:>8}", column);
    out += fmt::format(" {:>8}\n", "mean");
    for (std::size_t row = 0; row < panel.rows.size(); ++row) {
      out += fmt::format("{:<6}", panel.rows[row]);
      for (const HeatmapCell& cell : panel.cells[row]) out += fmt::format(" {:>8}", shown(cell));
      out += fmt::format(" {:>8}\n", shown(panel.row_averages[row]));
    }
    out += fmt::format("{:<6}", "mean");
    for (const HeatmapCell& cell : panel.column_averages) out += fmt::format(" {:>8}", shown(cell));
    out += fmt::format(" {:>8}\n", shown(panel.average));
  }
  return out;
}

std::string score_csv(const std::vector<ScoreCell>& cells) {
  std::string out = "task,length,config,samples,correct,accuracy,accuracy_low,accuracy_high\n";
  for (const ScoreCell& cell : cells) {
    const Interval interval = wilson_interval(cell.correct, cell.samples);
    out += fmt::format("{},{},{},{},{},{:.6f},{:.6f},{:.6f}\n", cell.task, cell.length, csv_field(cell.config),
                       cell.samples, cell.correct, cell.accuracy(), interval.low, interval.high);
  }
  return out;
}

}  // namespace wt
