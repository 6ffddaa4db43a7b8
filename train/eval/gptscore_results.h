// The scores of train/eval/gptscore.h as a table, CSV, JSON and a picture. All take the lines whose scores there are:
// of a run that was stopped the first ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/eval/gptscore.h"
#include "train/report/charts.h"

namespace wt {

// What was scored, and the scores of its first lines.
struct ScoredLines {
  std::vector<ScoreLine> lines;
  std::vector<Aspect> aspects;
  std::vector<LineScores> scores;
};

struct AspectStatistics {
  std::string aspect;
  std::optional<BoxStatistics> ref_hypo, hypo_ref, avg_f, harm_f;  // nothing where no line has a score
};
struct SystemStatistics {
  std::string system;
  std::int64_t lines = 0, without_score = 0;
  std::vector<AspectStatistics> aspects;
  std::optional<BoxStatistics> reference_nll;
};
// In the order in which systems come first.
std::vector<SystemStatistics> statistics_by_system(const ScoredLines& scored);

// Under any aspect.
bool has_score(const LineScores& scores);
// The lines that hypothesis or references leave without a score: "2 of 90 lines have no score, …: a.jsonl:3, …"; ""
// where there is none.
std::string without_score(const ScoredLines& scored);

// A row an aspect and system, with mean, median and quartiles of avg_f and harm_f; below it the same of reference_nll,
// where there are sources.
std::string gptscore_table(const ScoredLines& scored);
// id,system,src,ref,hyp, for each aspect {aspect}_ref_hypo, …_hypo_ref, …_avg_f, …_harm_f, and reference_nll. What
// there is not is empty; several references are a JSON list.
std::string gptscore_csv(const ScoredLines& scored);

// Where the scores come from, for the JSON.
struct GptScoreSettings {
  std::string model, tokenizer, dtype;
  GptScoreOptions options;
};
// {"model", "tokenizer", "dtype", "max_tokens", "first_label", "special_tokens", "instructions": {aspect: sentence, or
// null for each line's own}, "systems": [{"system", "lines", "without_score", "aspects": {aspect: {"avg_f": {"n",
// "mean", "median", "q1", "q3", "low", "high", "outliers"}, …}}, "reference_nll"}], "scores": [{"id", "system",
// "aspects": {aspect:
// {"ref_hypo", "hypo_ref", "avg_f", "harm_f"}}, "reference_nll"}]}; null where there is nothing.
std::string gptscore_json(const ScoredLines& scored, const GptScoreSettings& settings);

// SVG: for each aspect a box a system of avg_f, and of reference_nll where there are sources. `evaluator`: the model's
// name.
std::string gptscore_chart(const ScoredLines& scored, const std::string& evaluator);

}  // namespace wt
