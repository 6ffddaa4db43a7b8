#include "train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/memory.h"
#include "core/text.h"
#include "data/babilong_metric.h"
#include "data/csv.h"
#include "train/charts.h"
#include "train/generate.h"
#include "train/units.h"

namespace wt {

std::string answer_text(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, std::int32_t end_id) {
  const std::vector<std::int32_t> kept(ids.begin(), std::find(ids.begin(), ids.end(), end_id));
  return std::string(trimmed(tokenizer.decode(kept)));
}

EvalRow evaluate(const Model& model, const BabilongSampler& sampler, std::int64_t count, const EvalOptions& options) {
  const auto item = [&](std::int64_t i) {
    BabilongSample sample = sampler.sample(static_cast<std::uint64_t>(i));
    sample.tokens.resize(static_cast<std::size_t>(sample.prompt_size));
    return EvalItem{std::move(sample.tokens), std::move(sample.question), std::move(sample.answer)};
  };
  EvalOptions with_task = options;
  with_task.task = sampler.config().stories.task;
  return evaluate(model, sampler.tokenizer(), sampler.end_id(), count, item, with_task);
}

EvalRow evaluate(const Model& model, const RetrievalSampler& sampler, std::int64_t count, const EvalOptions& options) {
  const auto item = [&](std::int64_t i) {
    RetrievalSample sample = sampler.sample(static_cast<std::uint64_t>(i));
    sample.tokens.resize(static_cast<std::size_t>(sample.prompt_size));
    return EvalItem{std::move(sample.tokens), std::move(sample.question), std::move(sample.answer)};
  };
  EvalOptions with_task = options;
  with_task.task = kAssociativeRetrieval;
  return evaluate(model, sampler.tokenizer(), sampler.end_id(), count, item, with_task);
}

EvalRow evaluate(const Model& model, const Tokenizer& tokenizer, std::int32_t end_id, std::int64_t count,
                 const std::function<EvalItem(std::int64_t)>& item, const EvalOptions& options) {
  EvalRow row;
  row.task = options.task;
  row.has_official = !options.task.empty() && options.task != kAssociativeRetrieval;
  reset_peak(model.stream().device());
  GenerateOptions generation;
  generation.max_new_tokens = options.max_new_tokens;
  generation.stop_ids = options.stop_ids;
  generation.stop_ids.push_back(end_id);
  const auto is_stop = [&](std::int32_t id) {
    return std::find(generation.stop_ids.begin(), generation.stop_ids.end(), id) != generation.stop_ids.end();
  };
  generation.schedule = options.schedule;
  generation.close_segments = false;  // as the published code answers; an answer is a few tokens
  for (std::int64_t first = 0; first < count; first += options.batch_size) {
    std::vector<std::vector<std::int32_t>> prompts;
    std::vector<EvalAnswer> answers;
    for (std::int64_t i = first; i < std::min(count, first + options.batch_size); ++i) {
      EvalItem next = item(i);
      row.prompt_tokens += static_cast<std::int64_t>(next.prompt.size());
      prompts.push_back(std::move(next.prompt));
      answers.push_back({std::move(next.question), std::move(next.target), "", false, false});
    }
    const auto start = std::chrono::steady_clock::now();
    auto generated = generate(model, prompts, generation);
    row.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      generated[i].erase(std::find_if(generated[i].begin(), generated[i].end(), is_stop), generated[i].end());
      EvalAnswer& answer = answers[i];
      answer.output = answer_text(tokenizer, generated[i], end_id);
      answer.correct = answer.output == answer.target;
      answer.official = row.has_official && babilong_correct(row.task, answer.target, answer.output, answer.question);
      ++row.samples;
      row.correct += answer.correct ? 1 : 0;
      row.official += answer.official ? 1 : 0;
      if (options.progress && !options.progress(row.samples, answer)) return row;
    }
    row.peak_bytes = memory_use(model.stream().device()).peak;
  }
  return row;
}

std::string eval_table(const std::vector<EvalRow>& rows) {
  std::size_t width = 6;
  for (const EvalRow& row : rows) width = std::max(width, row.task.size());
  std::string out = fmt::format("{:<{}} {:>8} {:>10} {:>8} {:>12} {:>9} {:>12} {:>12}\n", "task", width, "length",
                                "tokens", "samples", "exact match", "official", "tokens/s", "peak memory");
  for (const EvalRow& row : rows) {
    const std::int64_t mean = row.samples == 0 ? 0 : row.prompt_tokens / row.samples;
    const std::string official = row.has_official ? fmt::format("{:.3f}", row.official_accuracy()) : "-";
    out += fmt::format("{:<{}} {:>8} {:>10} {:>8} {:>12.3f} {:>9} {:>12} {:>12}\n", row.task.empty() ? "-" : row.task,
                       width, row.length, mean, row.samples, row.accuracy(), official,
                       human_count(row.tokens_per_second()), human_bytes(row.peak_bytes));
  }
  return out;
}

std::string eval_csv(const std::vector<EvalRow>& rows) {
  std::string out =
      "task,length,samples,correct,accuracy,prompt_tokens,seconds,tokens_per_second,peak_bytes,official_correct,"
      "official_accuracy\n";
  for (const EvalRow& row : rows) {
    const std::string official =
        row.has_official ? fmt::format("{},{:.6f}", row.official, row.official_accuracy()) : ",";
    out += fmt::format("{},{},{},{},{:.6f},{},{:.3f},{:.1f},{},{}\n", row.task.empty() ? "-" : row.task, row.length,
                       row.samples, row.correct, row.accuracy(), row.prompt_tokens, row.seconds,
                       row.tokens_per_second(), row.peak_bytes, official);
  }
  return out;
}

std::string eval_json(const std::vector<EvalRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const EvalRow& row : rows) {
    nlohmann::ordered_json official, official_accuracy;  // null
    if (row.has_official) {
      official = row.official;
      official_accuracy = row.official_accuracy();
    }
    list.push_back({{"task", row.task.empty() ? "-" : row.task},
                    {"length", row.length},
                    {"samples", row.samples},
                    {"correct", row.correct},
                    {"accuracy", row.accuracy()},
                    {"prompt_tokens", row.prompt_tokens},
                    {"seconds", row.seconds},
                    {"tokens_per_second", row.tokens_per_second()},
                    {"peak_bytes", row.peak_bytes},
                    {"official_correct", official},
                    {"official_accuracy", official_accuracy}});
  }
  return list.dump(2) + "\n";
}

std::string answers_csv_heading() {
  return "task,length,target,output,question,correct,official\n";
}

std::string answers_csv(const EvalRow& row, const std::vector<EvalAnswer>& answers) {
  std::string out;
  for (const EvalAnswer& answer : answers) {
    out += cat(row.task.empty() ? "-" : csv_field(row.task), ",", csv_field(row.length), ",", csv_field(answer.target),
               ",", csv_field(answer.output), ",", csv_field(answer.question), ",", answer.correct ? 1 : 0, ",",
               answer.official ? 1 : 0, "\n");
  }
  return out;
}

std::string eval_chart(const std::vector<EvalRow>& rows, bool official) {
  // Lengths and tasks in the order they were asked for.
  std::vector<std::string> lengths;
  std::vector<ChartLine> lines;
  const auto place_of = [](auto& list, const auto& is_it) {
    return static_cast<std::size_t>(std::find_if(list.begin(), list.end(), is_it) - list.begin());
  };
  for (const EvalRow& row : rows) {
    if (std::find(lengths.begin(), lengths.end(), row.length) == lengths.end()) lengths.push_back(row.length);
  }
  for (const EvalRow& row : rows) {
    const std::string name = row.task.empty() ? "all" : row.task;
    const std::size_t line = place_of(lines, [&](const ChartLine& l) { return l.name == name; });
    if (line == lines.size()) lines.push_back({name, std::vector<std::optional<double>>(lengths.size())});
    const std::size_t column = place_of(lengths, [&](const std::string& l) { return l == row.length; });
    lines[line].values[column] = 100 * (official ? row.official_accuracy() : row.accuracy());
  }
  return line_chart_svg("Accuracy by length", official ? "BABILong's metric" : "exact match", "context length", lengths,
                        lines);
}

}  // namespace wt
