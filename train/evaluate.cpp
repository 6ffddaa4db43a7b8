#include "train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/memory.h"
#include "train/generate.h"
#include "train/units.h"

namespace wt {

std::string answer_text(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, std::int32_t end_id) {
  const std::vector<std::int32_t> kept(ids.begin(), std::find(ids.begin(), ids.end(), end_id));
  const std::string text = tokenizer.decode(kept);
  const auto first = text.find_first_not_of(" \n\t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \n\t") + 1 - first);
}

EvalRow evaluate(const Model& model, const BabilongSampler& sampler, std::int64_t count, const EvalOptions& options) {
  const auto item = [&](std::int64_t i) {
    BabilongSample sample = sampler.sample(static_cast<std::uint64_t>(i));
    sample.tokens.resize(static_cast<std::size_t>(sample.prompt_size));
    return EvalItem{std::move(sample.tokens), std::move(sample.question), std::move(sample.answer)};
  };
  EvalRow row = evaluate(model, sampler.tokenizer(), sampler.end_id(), count, item, options);
  row.task = sampler.config().stories.task;
  return row;
}

EvalRow evaluate(const Model& model, const Tokenizer& tokenizer, std::int32_t end_id, std::int64_t count,
                 const std::function<EvalItem(std::int64_t)>& item, const EvalOptions& options) {
  EvalRow row;
  reset_peak(model.stream().device());
  GenerateOptions generation;
  generation.max_new_tokens = options.max_new_tokens;
  generation.stop_ids = {end_id};
  generation.schedule = options.schedule;
  for (std::int64_t first = 0; first < count; first += options.batch_size) {
    std::vector<std::vector<std::int32_t>> prompts;
    std::vector<EvalAnswer> answers;
    for (std::int64_t i = first; i < std::min(count, first + options.batch_size); ++i) {
      EvalItem next = item(i);
      row.prompt_tokens += static_cast<std::int64_t>(next.prompt.size());
      prompts.push_back(std::move(next.prompt));
      answers.push_back({std::move(next.question), std::move(next.target), "", false});
    }
    const auto start = std::chrono::steady_clock::now();
    const auto generated = generate(model, prompts, generation);
    row.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      answers[i].output = answer_text(tokenizer, generated[i], end_id);
      answers[i].correct = answers[i].output == answers[i].target;
      ++row.samples;
      row.correct += answers[i].correct ? 1 : 0;
      if (options.progress && !options.progress(row.samples, answers[i])) return row;
    }
    row.peak_bytes = memory_use(model.stream().device()).peak;
  }
  return row;
}

std::string eval_table(const std::vector<EvalRow>& rows) {
  std::string out = fmt::format("{:<6} {:>8} {:>10} {:>8} {:>12} {:>12} {:>12}\n", "task", "length", "tokens",
                                "samples", "exact match", "tokens/s", "peak memory");
  for (const EvalRow& row : rows) {
    const std::int64_t mean = row.samples == 0 ? 0 : row.prompt_tokens / row.samples;
    out += fmt::format("{:<6} {:>8} {:>10} {:>8} {:>12.3f} {:>12} {:>12}\n", row.task, row.length, mean, row.samples,
                       row.accuracy(), human_count(row.tokens_per_second()), human_bytes(row.peak_bytes));
  }
  return out;
}

std::string eval_csv(const std::vector<EvalRow>& rows) {
  std::string out = "task,length,samples,correct,accuracy,prompt_tokens,seconds,tokens_per_second,peak_bytes\n";
  for (const EvalRow& row : rows) {
    out += fmt::format("{},{},{},{},{:.6f},{},{:.3f},{:.1f},{}\n", row.task, row.length, row.samples, row.correct,
                       row.accuracy(), row.prompt_tokens, row.seconds, row.tokens_per_second(), row.peak_bytes);
  }
  return out;
}

std::string eval_json(const std::vector<EvalRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const EvalRow& row : rows) {
    list.push_back({{"task", row.task},
                    {"length", row.length},
                    {"samples", row.samples},
                    {"correct", row.correct},
                    {"accuracy", row.accuracy()},
                    {"prompt_tokens", row.prompt_tokens},
                    {"seconds", row.seconds},
                    {"tokens_per_second", row.tokens_per_second()},
                    {"peak_bytes", row.peak_bytes}});
  }
  return list.dump(2) + "\n";
}

}  // namespace wt
