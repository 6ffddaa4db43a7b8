// What a run wrote down, read for a report: its configuration, the lines of metrics.jsonl, its evaluation.
//
// A report must come out of any run that was cut short, so what cannot be read is left out and said in `notes`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/eval/evaluate.h"

namespace wt {

// One figure over the run's steps, which rise. NaN where a step has no number for it: a loss that was not finite.
struct MetricSeries {
  std::vector<double> steps, values;
};

// metrics.jsonl as columns.
struct RunMetrics {
  std::map<std::string, MetricSeries> series;           // by key: "loss", "validation_loss", …
  std::vector<std::pair<double, std::int64_t>> stages;  // a stage (from 1) and the step of its first line
  std::vector<std::string> notes;                       // what was left out, one sentence each

  // The series, or an empty one.
  const MetricSeries& of(const std::string& key) const;
};

// Lines that are no JSON object, or have no step, are counted in `notes` with the first one's number; so are values
// that are not finite. Where a step comes again the later line holds. Never throws for what the text is.
RunMetrics parse_metrics(std::string_view text, const std::string& name);

struct AnswerRow {
  std::string task, length;
  EvalAnswer answer;
};

// Reads what eval_json() wrote; rows that are not like that are counted in `notes`.
std::vector<EvalRow> parse_eval_json(std::string_view text, const std::string& name, std::vector<std::string>& notes);
// Reads what answers_csv() wrote (train/eval/evaluate.h). Throws Error for anything else.
std::vector<AnswerRow> parse_answers(std::string_view text, const std::string& name);

struct RunRecord {
  std::string name;  // what the page calls it
  std::string folder;
  std::string config_text;                                  // config.yaml as it is
  std::vector<std::pair<std::string, std::string>> config;  // "train.stages.0.lr" and its value, in the file's order
  std::vector<std::string> stage_names;
  RunMetrics metrics;
  std::vector<EvalRow> evaluation;  // eval.json
  std::vector<AnswerRow> answers;   // answers.csv
  std::vector<std::string> notes;   // of everything

  const std::string* config_value(std::string_view key) const;
};

// Throws UsageError where the folder is missing or holds no run.
RunRecord read_run(const std::string& folder);
// Runs under names that differ: the folder's own, or its path where two share one. Throws UsageError where a folder is
// named twice.
std::vector<RunRecord> read_runs(const std::vector<std::string>& folders);

}  // namespace wt
