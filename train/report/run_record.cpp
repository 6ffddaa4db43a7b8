#include "train/report/run_record.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/csv.h"
#include "train/metrics.h"
#include "train/yaml.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// No figure of a run is larger, and sums and squares of such numbers stay finite.
constexpr double kLargest = 1e30;
constexpr double kMostSteps = 1e15;
// Of samples and tokens: sums over all rows of a file stay whole numbers.
constexpr double kMostTokens = 1e12;

// The number, or NaN where it is none that can be drawn.
double number_of(const nlohmann::json& value) {
  if (!value.is_number()) return kNone;
  const auto number = value.get<double>();
  return std::abs(number) <= kLargest ? number : kNone;
}

std::string plural(std::int64_t count, const char* one, const char* many) {
  return cat(count, " ", count == 1 ? one : many);
}

// Counts what is left out for one reason.
class Omissions {
 public:
  void add(std::int64_t place) {
    if (count_++ == 0) first_ = place;
  }
  std::int64_t count() const { return count_; }
  std::int64_t first() const { return first_; }

 private:
  std::int64_t count_ = 0, first_ = 0;
};

// Every value, one a step; a step that comes again takes the later value.
void sort_steps(MetricSeries& series) {
  const auto& steps = series.steps;
  if (std::adjacent_find(steps.begin(), steps.end(), std::greater_equal<>()) == steps.end()) return;
  std::map<double, double> by_step;
  for (std::size_t i = 0; i < series.steps.size(); ++i) by_step[series.steps[i]] = series.values[i];
  series = {};
  for (const auto& [step, value] : by_step) {
    series.steps.push_back(step);
    series.values.push_back(value);
  }
}

std::string text_of(const nlohmann::json& row, const char* key) {
  const auto found = row.find(key);
  return found != row.end() && found->is_string() ? found->get<std::string>() : "";
}

// Below 0 where it is no count.
std::int64_t count_of(const nlohmann::json& row, const char* key, double most) {
  const auto found = row.find(key);
  const double number = found == row.end() ? kNone : number_of(*found);
  return number >= 0 && number <= most ? std::llround(number) : -1;
}

void flatten(const YamlNode& node, const std::string& path, std::vector<std::pair<std::string, std::string>>& out) {
  const std::string prefix = path.empty() ? "" : path + ".";
  if (node.kind == YamlNode::Kind::kMap) {
    for (const YamlField& field : node.fields) flatten(field.node, prefix + field.name, out);
  } else if (node.kind == YamlNode::Kind::kList) {
    // Lists of plain values read best as one.
    const bool plain = std::all_of(node.items.begin(), node.items.end(),
                                   [](const YamlNode& item) { return item.kind == YamlNode::Kind::kScalar; });
    if (!plain) {
      for (std::size_t i = 0; i < node.items.size(); ++i) flatten(node.items[i], cat(prefix, i), out);
      return;
    }
    std::string list;
    for (const YamlNode& item : node.items) list += (list.empty() ? "" : ", ") + item.text;
    out.emplace_back(path, list);
  } else {
    out.emplace_back(path, node.text);
  }
}

std::vector<std::string> stage_names(const YamlNode& root) {
  std::vector<std::string> names;
  const YamlNode* train = root.find("train");
  const YamlNode* stages = train == nullptr ? nullptr : train->find("stages");
  if (stages == nullptr) return names;
  for (const YamlNode& stage : stages->items) {
    const YamlNode* name = stage.find("name");
    names.push_back(name == nullptr ? "" : name->text);
  }
  return names;
}

// The file's text, or nothing and a note; a missing file's note is `missing`, none where that is empty.
std::string read_or_note(const std::string& path, const std::string& missing, std::vector<std::string>& notes) {
  if (!fs::exists(path)) {
    if (!missing.empty()) notes.push_back(missing);
    return "";
  }
  try {
    return read_file(path);
  } catch (const Error& error) {
    notes.emplace_back(error.what());
    return "";
  }
}

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

const MetricSeries& RunMetrics::of(const std::string& key) const {
  static const MetricSeries kEmpty;
  const auto found = series.find(key);
  return found == series.end() ? kEmpty : found->second;
}

RunMetrics parse_metrics(std::string_view text, const std::string& name) {
  RunMetrics out;
  Omissions damaged;
  std::map<std::string, Omissions> not_finite;
  bool is_cut = false;
  std::int64_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    is_cut = end == std::string_view::npos;
    text.remove_prefix(is_cut ? text.size() : end + 1);
    if (line.empty()) continue;
    const nlohmann::json fields = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    const double step = fields.is_object() && fields.contains("step") ? number_of(fields["step"]) : kNone;
    if (!(step >= 0 && step <= kMostSteps)) {
      damaged.add(line_number);
      continue;
    }
    const std::int64_t stage = count_of(fields, "stage", kMostSteps);
    if (stage > 0 && (out.stages.empty() || out.stages.back().second < stage)) out.stages.emplace_back(step, stage);
    for (const auto& [key, value] : fields.items()) {
      if (key == "step" || key == "stage" || !(value.is_number() || value.is_null())) continue;
      MetricSeries& series = out.series[key];
      series.steps.push_back(step);
      series.values.push_back(number_of(value));
      if (std::isnan(series.values.back())) not_finite[key].add(std::llround(step));
    }
  }
  for (auto& [key, series] : out.series) sort_steps(series);
  std::sort(out.stages.begin(), out.stages.end());
  if (damaged.count() > 0) {
    const bool only_the_end = damaged.count() == 1 && is_cut && damaged.first() == line_number;
    out.notes.push_back(only_the_end ? cat(name, ":", line_number, ": the last line is cut and left out")
                                     : cat(name, ":", damaged.first(), ": ", plural(damaged.count(), "line", "lines"),
                                           " from here on ", damaged.count() == 1 ? "is" : "are",
                                           " no JSON object with a step, and left out"));
  }
  for (const auto& [key, values] : not_finite) {
    out.notes.push_back(cat(name, ": ", key, " has ", plural(values.count(), "value", "values"), " that ",
                            values.count() == 1 ? "is" : "are", " not finite, first at step ", values.first(),
                            "; the curve has a gap there"));
  }
  return out;
}

std::vector<EvalRow> parse_eval_json(std::string_view text, const std::string& name, std::vector<std::string>& notes) {
  const nlohmann::json list = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!list.is_array()) {
    notes.push_back(cat(name, ": no list of results, left out"));
    return {};
  }
  std::vector<EvalRow> rows;
  std::int64_t odd = 0;
  for (const nlohmann::json& entry : list) {
    EvalRow row;
    if (entry.is_object()) {
      row.task = text_of(entry, "task");
      row.length = text_of(entry, "length");
      row.samples = count_of(entry, "samples", kMostTokens);
      row.correct = count_of(entry, "correct", kMostTokens);
      row.official = count_of(entry, "official_correct", kMostTokens);
      row.has_official = row.official >= 0;
      const auto chance = entry.find("chance");
      if (chance != entry.end() && number_of(*chance) >= 0 && number_of(*chance) <= 1) row.chance = number_of(*chance);
      row.prompt_tokens = std::max<std::int64_t>(count_of(entry, "prompt_tokens", kMostTokens), 0);
      const auto seconds = entry.find("seconds");
      if (seconds != entry.end() && number_of(*seconds) >= 1e-9) row.seconds = number_of(*seconds);
      row.peak_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(count_of(entry, "peak_bytes", kMostSteps), 0));
    }
    if (row.task.empty() || row.length.empty() || row.samples <= 0 || row.correct < 0 || row.correct > row.samples ||
        row.official > row.samples) {
      ++odd;
      continue;
    }
    row.official = std::max<std::int64_t>(row.official, 0);
    rows.push_back(std::move(row));
  }
  if (odd > 0) notes.push_back(cat(name, ": ", plural(odd, "entry", "entries"), " without task, length or counts"));
  return rows;
}

std::vector<AnswerRow> parse_answers(std::string_view text, const std::string& name) {
  const CsvTable table = parse_csv(text, name);
  const std::size_t task = table.column("task"), length = table.column("length"), target = table.column("target"),
                    output = table.column("output"), question = table.column("question"),
                    correct = table.column("correct"), official = table.column("official");
  std::vector<AnswerRow> rows;
  rows.reserve(table.rows.size());
  for (const CsvRow& row : table.rows) {
    const auto flag = [&](std::size_t column) {
      const std::string& field = row.fields[column];
      if (field != "0" && field != "1") {
        throw Error(cat(name, ":", row.line, ": ", table.header.fields[column], " is '", field, "', expected 0 or 1"));
      }
      return field == "1";
    };
    rows.push_back({row.fields[task],
                    row.fields[length],
                    {row.fields[question], row.fields[target], row.fields[output], flag(correct), flag(official)}});
  }
  return rows;
}

const std::string* RunRecord::config_value(std::string_view key) const {
  for (const auto& [name_of, value] : config) {
    if (name_of == key) return &value;
  }
  return nullptr;
}

RunRecord read_run(const std::string& folder) {
  if (!fs::is_directory(folder)) throw UsageError(cat(folder, ": no such folder"));
  if (!is_run_folder(folder)) throw UsageError(cat(folder, ": holds no run (no config.yaml)"));
  RunRecord run;
  run.folder = folder;
  run.config_text = read_or_note(folder + "/config.yaml", "", run.notes);
  try {
    const YamlNode root = parse_yaml(run.config_text, "config.yaml");
    flatten(root, "", run.config);
    run.stage_names = stage_names(root);
  } catch (const Error& error) {
    run.notes.emplace_back(error.what());
  }
  const std::string metrics =
      read_or_note(folder + "/metrics.jsonl", "metrics.jsonl: not there, so there are no curves", run.notes);
  run.metrics = parse_metrics(metrics, "metrics.jsonl");
  append(run.notes, run.metrics.notes);
  const std::string evaluation =
      read_or_note(folder + "/eval.json", "eval.json: not there; 'wavetape eval RUN --output RUN' makes it", run.notes);
  if (!evaluation.empty()) run.evaluation = parse_eval_json(evaluation, "eval.json", run.notes);
  const std::string answers = read_or_note(
      folder + "/answers.csv",
      run.evaluation.empty() ? "" : "answers.csv: not there; 'wavetape eval RUN --output RUN' makes it", run.notes);
  if (!answers.empty()) {
    try {
      run.answers = parse_answers(answers, "answers.csv");
    } catch (const Error& error) {
      run.notes.emplace_back(error.what());
    }
  }
  return run;
}

std::vector<RunRecord> read_runs(const std::vector<std::string>& folders) {
  std::vector<RunRecord> runs;
  std::set<fs::path> seen;
  std::map<std::string, int> names;
  for (const std::string& folder : folders) {
    runs.push_back(read_run(folder));
    const fs::path path = fs::canonical(folder);
    if (!seen.insert(path).second) throw UsageError(cat(folder, ": is named twice"));
    runs.back().name = path.filename().string();
    ++names[runs.back().name];
  }
  for (RunRecord& run : runs) {
    if (names[run.name] > 1) run.name = run.folder;
  }
  return runs;
}

}  // namespace wt
