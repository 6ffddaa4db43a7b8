#include "train/eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/memory.h"
#include "core/text.h"
#include "data/babilong_metric.h"
#include "data/csv.h"
#include "train/eval/accuracy.h"
#include "train/eval/generate.h"
#include "train/report/charts.h"
#include "train/units.h"

namespace wt {

Schedule choose_eval_schedule(std::string_view name, const Model& model) {
  const bool stream = name == "auto" && !model.one_after_another();
  return stream ? Schedule::kStreaming : choose_schedule(name, model.one_after_another());
}

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
  with_task.chance = sampler.options().chance();
  return evaluate(model, sampler.tokenizer(), sampler.end_id(), count, item, with_task);
}

namespace {

// Samples that are read together, and the answers to come.
struct Group {
  TokenSequences prompts;
  std::vector<NextTokens> pieces;  // of each sample, or of none
  std::vector<EvalAnswer> answers;
  std::int64_t segments = 0;  // closed ones
};

// Asks for the items one by one and makes groups of them.
class Groups {
 public:
  Groups(const Model& model, std::int64_t count, const std::function<EvalItem(std::int64_t)>& item,
         const EvalOptions& options)
      : model_(model), count_(count), item_(item), batch_(options.batch_size) {
    // What grows with a text is kept of few at a time.
    if (options.schedule == Schedule::kDiagonal || !model.recurrent() || model.state_grows()) return;
    const std::uint64_t bytes = model.new_state(1).bytes();
    const Device device = model.stream().device();
    const std::uint64_t room = std::max(kKeptBytes, device.is_cuda() ? memory_capacity(device) / 16 : 0);
    most_ = std::clamp(static_cast<std::int64_t>(room / std::max<std::uint64_t>(bytes, 1)), batch_, kRounds * batch_);
    enough_segments_ = options.schedule == Schedule::kStreaming ? batch_ * segments_to_stream(model) : 0;
  }

  // An empty one: there are no more.
  Group next() {
    Group group;
    while (true) {
      if (!waiting_ && asked_ < count_) waiting_ = item_(asked_++);
      if (!waiting_ || is_full(group, waiting_->pieces != nullptr)) return group;
      if (waiting_->pieces) {
        group.pieces.push_back(std::move(waiting_->pieces));
      } else {
        const auto tokens = static_cast<std::int64_t>(waiting_->prompt.size());
        group.segments += (tokens - 1) / model_.segment_size(tokens);
        group.prompts.push_back(std::move(waiting_->prompt));
      }
      group.answers.push_back({std::move(waiting_->question), std::move(waiting_->target), "", false, false});
      waiting_.reset();
    }
  }

 private:
  // More samples than this many rounds would only delay the first answer.
  static constexpr std::int64_t kRounds = 32;
  // Of memories that wait to be asked, where the device has no more to spare.
  static constexpr std::uint64_t kKeptBytes = std::uint64_t{256} << 20;

  bool is_full(const Group& group, bool in_pieces) const {
    const auto size = static_cast<std::int64_t>(group.answers.size());
    if (size == 0) return false;
    if (in_pieces != !group.pieces.empty()) return true;
    if (in_pieces || most_ == 0) return size >= batch_;
    // Whole rounds, so that the answers are generated batch_ at a time.
    return size % batch_ == 0 && (size + batch_ > most_ || group.segments >= enough_segments_);
  }

  const Model& model_;
  std::int64_t count_, asked_ = 0;
  const std::function<EvalItem(std::int64_t)>& item_;
  std::int64_t batch_, most_ = 0, enough_segments_ = 0;
  std::optional<EvalItem> waiting_;
};

}  // namespace

EvalRow evaluate(const Model& model, const Tokenizer& tokenizer, std::int32_t end_id, std::int64_t count,
                 const std::function<EvalItem(std::int64_t)>& item, const EvalOptions& options) {
  EvalRow row;
  row.task = options.task;
  row.chance = options.chance ? options.chance : chance_of(row.task);
  row.has_official = !options.task.empty() && options.task != kAssociativeRetrieval;
  reset_peak(model.stream().device());
  GenerateOptions generation;
  generation.max_new_tokens = options.max_new_tokens;
  generation.stop_ids = options.stop_ids;
  generation.stop_ids.push_back(end_id);
  const auto is_stop = [&](std::int32_t id) {
    return std::find(generation.stop_ids.begin(), generation.stop_ids.end(), id) != generation.stop_ids.end();
  };
  generation.close_segments = false;  // as the published code answers; an answer is a few tokens
  bool stopped = false;
  const auto read = [&](Group& group) {
    if (group.pieces.empty()) {
      for (const auto& prompt : group.prompts) row.prompt_tokens += static_cast<std::int64_t>(prompt.size());
      return read_texts(model, std::move(group.prompts), static_cast<int>(options.batch_size), options.schedule);
    }
    std::vector<NextTokens> counted;
    for (const NextTokens& pieces : group.pieces) {
      counted.push_back([&] {
        stopped = stopped || (options.reading && !options.reading(row.prompt_tokens));
        const std::vector<std::int32_t> ids = stopped ? std::vector<std::int32_t>() : pieces();
        row.prompt_tokens += static_cast<std::int64_t>(ids.size());
        return ids;
      });
    }
    std::vector<Reading> readings{new_reading(model, static_cast<int>(counted.size()))};
    read_in_pieces(model, counted, options.schedule, readings.front());
    return readings;
  };
  Groups groups(model, count, item, options);
  for (Group group = groups.next(); !group.answers.empty(); group = groups.next()) {
    auto start = std::chrono::steady_clock::now();
    auto answer = group.answers.begin();
    std::vector<Reading> readings = read(group);
    if (stopped) return row;
    for (Reading& reading : readings) {
      auto generated = generate_after(model, reading, generation);
      row.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      reading = {};
      for (auto& ids : generated) {
        const auto end = std::find_if(ids.begin(), ids.end(), is_stop);
        row.cut += end == ids.end() ? 1 : 0;
        ids.erase(end, ids.end());
        answer->output = answer_text(tokenizer, ids, end_id);
        answer->correct = answer->output == answer->target;
        answer->official =
            row.has_official && babilong_correct(row.task, answer->target, answer->output, answer->question);
        ++row.samples;
        row.correct += answer->correct ? 1 : 0;
        row.official += answer->official ? 1 : 0;
        if (options.progress && !options.progress(row.samples, *answer)) return row;
        ++answer;
      }
      start = std::chrono::steady_clock::now();
    }
    row.peak_bytes = memory_use(model.stream().device()).peak;
  }
  return row;
}

std::string eval_table(const std::vector<EvalRow>& rows) {
  std::size_t width = 6;
  for (const EvalRow& row : rows) width = std::max(width, row.task.size());
  std::string out =
      fmt::format("{:<{}} {:>8} {:>10} {:>8} {:>12} {:>11} {:>9} {:>12} {:>12}\n", "task", width, "length", "tokens",
                  "samples", "exact match", "95 %", "official", "tokens/s", "peak memory");
  for (const EvalRow& row : rows) {
    const std::int64_t mean = row.samples == 0 ? 0 : row.prompt_tokens / row.samples;
    const std::string official = row.has_official ? fmt::format("{:.3f}", row.official_accuracy()) : "-";
    const Interval interval = wilson_interval(row.correct, row.samples);
    out += fmt::format("{:<{}} {:>8} {:>10} {:>8} {:>12.3f} {:>11} {:>9} {:>12} {:>12}\n",
                       row.task.empty() ? "-" : row.task, width, row.length, mean, row.samples, row.accuracy(),
                       fmt::format("{:.2f}-{:.2f}", interval.low, interval.high), official,
                       human_count(row.tokens_per_second()), human_bytes(row.peak_bytes));
  }
  for (const EvalRow& row : rows) {
    if (row.cut == 0) continue;
    out += fmt::format("{}{}: {} of {} answers were cut at the token limit (--max-new-tokens, eval.max_new_tokens)\n",
                       row.task.empty() ? "" : row.task + " ", row.length, row.cut, row.samples);
  }
  return out;
}

std::string eval_csv(const std::vector<EvalRow>& rows) {
  std::string out =
      "task,length,samples,correct,accuracy,prompt_tokens,seconds,tokens_per_second,peak_bytes,official_correct,"
      "official_accuracy,cut,accuracy_low,accuracy_high,chance\n";
  for (const EvalRow& row : rows) {
    const std::string official =
        row.has_official ? fmt::format("{},{:.6f}", row.official, row.official_accuracy()) : ",";
    const Interval interval = wilson_interval(row.correct, row.samples);
    out +=
        fmt::format("{},{},{},{},{:.6f},{},{:.3f},{:.1f},{},{},{},{:.6f},{:.6f},{}\n",
                    row.task.empty() ? "-" : csv_field(row.task), csv_field(row.length), row.samples, row.correct,
                    row.accuracy(), row.prompt_tokens, row.seconds, row.tokens_per_second(), row.peak_bytes, official,
                    row.cut, interval.low, interval.high, row.chance ? fmt::format("{:.6f}", *row.chance) : "");
  }
  return out;
}

std::string eval_json(const std::vector<EvalRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const EvalRow& row : rows) {
    nlohmann::ordered_json official, official_accuracy, chance;  // null
    if (row.chance) chance = *row.chance;
    const Interval interval = wilson_interval(row.correct, row.samples);
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
                    {"official_accuracy", official_accuracy},
                    {"cut", row.cut},
                    {"accuracy_low", interval.low},
                    {"accuracy_high", interval.high},
                    {"chance", chance}});
  }
  return list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";  // a length may be a file's name
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
  ChartScale scale;
  if (!rows.empty() &&
      std::all_of(rows.begin(), rows.end(), [&](const EvalRow& row) { return row.chance == rows[0].chance; })) {
    scale.chance = rows[0].chance;
    if (scale.chance) *scale.chance *= 100;
  }
  for (const EvalRow& row : rows) {
    const std::string name = row.task.empty() ? "all" : row.task;
    const std::size_t line = place_of(lines, [&](const ChartLine& l) { return l.name == name; });
    if (line == lines.size()) {
      ChartLine fresh{name, {}, {}};
      fresh.values.resize(lengths.size());
      fresh.ranges.resize(lengths.size());
      lines.push_back(std::move(fresh));
    }
    const std::size_t column = place_of(lengths, [&](const std::string& l) { return l == row.length; });
    lines[line].values[column] = 100 * (official ? row.official_accuracy() : row.accuracy());
    const Interval interval = wilson_interval(official ? row.official : row.correct, row.samples);
    lines[line].ranges[column] = {100 * interval.low, 100 * interval.high};
  }
  return line_chart_svg("Accuracy by length", official ? "BABILong's metric" : "exact match", "context length", lengths,
                        lines, scale);
}

}  // namespace wt
