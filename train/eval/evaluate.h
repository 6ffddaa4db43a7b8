// Evaluation on BABILong: generated answers, exact match and BABILong's own metric by task and length.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/associative_retrieval.h"
#include "data/babilong.h"
#include "layers/model.h"
#include "schedulers/plan.h"
#include "schedulers/reading.h"

namespace wt {

struct EvalRow {
  std::string task;
  std::string length;              // as asked for: "4k", "16x"
  std::int64_t prompt_tokens = 0;  // of all samples
  std::int64_t samples = 0;
  std::int64_t correct = 0;      // exact matches
  std::int64_t official = 0;     // right by BABILong's metric (data/babilong_metric.h)
  std::int64_t cut = 0;          // answers that ended at max_new_tokens, not at a stop token
  bool has_official = false;     // false where the task, and so its labels, is not known
  std::optional<double> chance;  // what guessing gives (train/eval/accuracy.h), where that is known
  double seconds = 0;
  std::uint64_t peak_bytes = 0;  // tensor memory, the model's included
  double accuracy() const { return samples == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(samples); }
  double official_accuracy() const {
    return samples == 0 ? 0 : static_cast<double>(official) / static_cast<double>(samples);
  }
  double tokens_per_second() const { return seconds > 0 ? static_cast<double>(prompt_tokens) / seconds : 0; }
};

struct EvalAnswer {
  std::string question, target, output;
  bool correct = false, official = false;
};

// Answers that are shown of a task at a length: enough to see what goes wrong, few enough to read.
constexpr std::size_t kWrongShown = 8, kRightShown = 4;

// As choose_schedule(), but "auto" is streaming where the model allows it.
Schedule choose_eval_schedule(std::string_view name, const Model& model);

struct EvalOptions {
  std::int64_t batch_size = 16;
  std::int64_t max_new_tokens = 12;
  // kStreaming: as many samples as fill a plan are read along it, batch_size side by side (read_texts()).
  Schedule schedule = Schedule::kStreaming;
  std::string task;                    // "qa1", or empty where it is not known
  std::optional<double> chance;        // of other tasks than bAbI's (train/eval/accuracy.h)
  std::vector<std::int32_t> stop_ids;  // that end an answer besides end-of-text
  // Hears of every answer as it comes; returns false to stop.
  std::function<bool(std::int64_t done, const EvalAnswer&)> progress;
  // Hears now and then, while samples are read in pieces, how many tokens of them have been read; false to stop.
  std::function<bool(std::int64_t tokens)> reading;
};

// What stands before end-of-text in the generated ids, without blanks around it.
std::string answer_text(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, std::int32_t end_id);

// One question to a model.
struct EvalItem {
  std::vector<std::int32_t> prompt;
  std::string question, target;
  NextTokens pieces = nullptr;  // instead of `prompt`, where it is too long to be in memory
};

// Generates the answers of items 0 … count-1 and compares them as text. `item(i)` is asked once for each, in order.
// Items in pieces are read side by side, batch_size of them at a time.
EvalRow evaluate(const Model& model, const Tokenizer& tokenizer, std::int32_t end_id, std::int64_t count,
                 const std::function<EvalItem(std::int64_t)>& item, const EvalOptions& options);
// The same with a sampler's samples.
EvalRow evaluate(const Model& model, const BabilongSampler& sampler, std::int64_t count, const EvalOptions& options);
EvalRow evaluate(const Model& model, const RetrievalSampler& sampler, std::int64_t count, const EvalOptions& options);

// A table for people: a row a length, exact match with its 95 % interval (train/eval/accuracy.h), official metric,
// tokens a second, peak memory; below it, how many answers were cut.
std::string eval_table(const std::vector<EvalRow>& rows);
// task,length,samples,correct,accuracy,prompt_tokens,seconds,tokens_per_second,peak_bytes,official_correct,
// official_accuracy,cut,accuracy_low,accuracy_high,chance; the official ones and chance are empty, in JSON null, where
// they are not known
std::string eval_csv(const std::vector<EvalRow>& rows);
std::string eval_json(const std::vector<EvalRow>& rows);
// task,length,target,output,question,correct,official: every answer of the job that `row` counts, as lines without
// the heading that answers_csv_heading() is. The flags are 0 or 1.
std::string answers_csv_heading();
std::string answers_csv(const EvalRow& row, const std::vector<EvalAnswer>& answers);
// SVG: accuracy over the lengths with 95 % intervals, a line for each task, and chance where all tasks have the same;
// by the official metric where `official` says so.
std::string eval_chart(const std::vector<EvalRow>& rows, bool official);

}  // namespace wt
