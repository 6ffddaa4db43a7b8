#include "train/run/curriculum.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/random.h"
#include "data/eval_set.h"
#include "data/inline_questions.h"

namespace wt {
namespace {

constexpr double kFewAccepted = 0.03;  // of the stories' samples: worth a notice

std::vector<double> task_weights(const DataConfig& data) {
  std::vector<double> weights;
  weights.reserve(data.task.size());
  for (const WeightedName& task : data.task) weights.push_back(task.weight);
  return weights;
}

BabilongConfig base_config(const DataConfig& data, const std::string& task) {
  BabilongConfig c;
  c.stories.task = task;
  c.stories.babi = data.babi;
  c.min_sentence_len = data.min_sentence_len;
  c.max_sentence_len = data.max_sentence_len;
  c.task_start_pct = data.task_start_pct;
  c.task_end_pct = data.task_end_pct;
  c.held_out_books = data.holdout_pct;
  if (!data.has_books()) c.no_background_rate = 1;
  return c;
}

}  // namespace

Curriculum::Curriculum(const Config& config, const ModelConfig& model, const Tokenizer& tokenizer,
                       std::shared_ptr<const BookText> books)
    : config_(config),
      model_(model),
      tokenizer_(tokenizer),
      books_(std::move(books)),
      mixture_(task_weights(config.data), static_cast<std::uint64_t>(config.seed.data)) {
  std::vector<Used> used(config.data.task.size());
  for (std::size_t number = 0; number < config.train.stages.size(); ++number) {
    add_stage(number, static_cast<std::uint64_t>(config.train.first_sample(number)), used);
    const auto next_sample = static_cast<std::uint64_t>(config.train.first_sample(number + 1));
    const std::vector<std::uint64_t> ranks = mixture_.counts(Split::kTrain, next_sample);
    for (std::size_t task = 0; task < used.size(); ++task) {
      const Source& full = stages_.back().train.back()[task];
      used[task] = {full.size, full.first_index + ranks[task] - stages_.back().first_ranks[task]};
    }
  }
}

void Curriculum::add_stage(std::size_t number, std::uint64_t first_sample, std::vector<Used>& used) {
  const StageConfig& stage = config_.train.stages[number];
  Stage built;
  built.first_sample = first_sample;
  built.first_ranks = mixture_.counts(Split::kTrain, first_sample);
  built.segments = stage.segments;
  if (stage.vary_n_segments) {
    built.segments.resize(static_cast<std::size_t>(stage.max_segments()));
    std::iota(built.segments.begin(), built.segments.end(), 1);
  }
  std::sort(built.segments.begin(), built.segments.end());
  built.train.resize(built.segments.size());
  const std::vector<std::string> tasks = config_.data.tasks();
  for (std::size_t task = 0; task < tasks.size(); ++task) {
    for (std::size_t i = 0; i < built.segments.size(); ++i) {
      Source source = make_source(tasks[task], number, built.segments[i], Split::kTrain);
      // The epoch goes on where the stage has the same samples as the one before, else another begins.
      source.first_index = used[task].next;
      if (source.size > 0 && source.size != used[task].size) {
        source.first_index = (used[task].next + source.size - 1) / source.size * source.size;
      }
      if (source.accepted_share < kFewAccepted) {
        notices_.push_back(fmt::format(
            "stage {}: only {:.2g} % of {}'s samples have the facts asked for and fit into {} segment{}", number + 1,
            100 * source.accepted_share, tasks[task], built.segments[i], built.segments[i] == 1 ? "" : "s"));
      }
      built.train[i].push_back(std::move(source));
    }
    built.validation.push_back(make_source(tasks[task], number, stage.max_segments(), Split::kValidation));
  }
  built.num_validation_samples = stage.validation_samples;
  if (stage.validation_tokens > 0) {
    const auto longest = config_.data.is_retrieval()
                             ? static_cast<std::int64_t>(built.validation.front().draw(0).tokens.size())
                             : stage.max_segments() * model_.data_segment();
    built.num_validation_samples =
        std::clamp<std::int64_t>(stage.validation_tokens / longest, 1, stage.validation_samples);
  }
  stages_.push_back(std::move(built));
}

Curriculum::Source Curriculum::make_source(const std::string& task, std::size_t stage, std::int64_t segments,
                                           Split split) const {
  const auto seed = static_cast<std::uint64_t>(config_.seed.data);
  const auto draws = [](const auto& sampler) {
    return [sampler](std::uint64_t index) {
      auto sample = sampler.sample(index);
      return Sample{std::move(sample.tokens), std::move(sample.mask)};
    };
  };
  Source source;
  if (config_.data.is_retrieval()) {
    const RetrievalOptions& options = config_.data.retrieval;
    source.draw =
        draws(RetrievalSampler(options, segments * options.pairs_per_segment, model_.segment_size(), seed, split));
    return source;
  }
  BabilongConfig c = stage_config(task, config_.train.stages[stage], segments);
  if (split == Split::kValidation) {
    c.inline_question_rate = 0;
    c.ask_everyone = false;
  }
  try {
    const BabilongSampler sampler(c, tokenizer_, books_, seed, split);
    source.size = sampler.size();
    source.accepted_share = sampler.accepted_share();
    source.draw = draws(sampler);
  } catch (const UnfitStories& e) {
    config_.places.fail(cat("train.stages.", stage),
                        cat(e.what(), ": change segments, min_facts or max_facts, or the model's segment_size"));
  }
  return source;
}

// The last tokens are what a windowed model reads, in training as in generation.
void Curriculum::append_sample(TokenBatch& batch, Sample sample) const {
  const auto size = static_cast<std::int64_t>(sample.tokens.size());
  if (model_.window > 0 && size > model_.window) {
    sample.tokens.erase(sample.tokens.begin(), sample.tokens.end() - model_.window);
    sample.mask.erase(sample.mask.begin(), sample.mask.end() - model_.window);
  }
  batch.add(std::move(sample.tokens), sample.mask);
}

BabilongConfig Curriculum::stage_config(const std::string& task, const StageConfig& stage,
                                        std::int64_t segments) const {
  BabilongConfig c = base_config(config_.data, task);
  c.segment_size = model_.data_segment();
  if (!model_.eos_ids.empty()) c.end_id = static_cast<std::int32_t>(model_.eos_ids.front());
  // Every length from the full one down, all in the same number of segments.
  c.sample_sizes.clear();
  const std::int64_t jitter = std::min(stage.length_jitter, c.segment_size - 1);
  for (std::int64_t less = 0; less <= jitter; ++less) c.sample_sizes.push_back(segments * c.segment_size - less);
  c.size_rule = SizeRule::kTotal;
  c.no_background_rate = 1 - stage.background_ratio;
  c.min_n_facts = static_cast<int>(stage.min_facts);
  c.max_n_facts = static_cast<int>(stage.max_facts);
  c.task_start_pct = stage.task_start_pct;
  c.task_end_pct = stage.task_end_pct;
  // In a mixture the tasks that such questions are known for get them.
  if (has_known_questions(task)) {
    c.inline_question_rate = stage.inline_question_rate;
    c.ask_everyone = stage.ask_everyone;
  }
  return c;
}

TokenBatch Curriculum::train_batch(std::size_t stage, std::uint64_t index, std::int64_t offset,
                                   const std::function<void()>& before_sample) const {
  const Stage& s = stages_[stage];
  const StageConfig& settings = config_.train.stages[stage];
  RandomStream random(static_cast<std::uint64_t>(config_.seed.data),
                      random_stream(RandomPurpose::kCurriculum, (std::uint64_t{stage} << 40) | index));
  std::size_t choice = s.segments.size() - 1;
  if (!random.bernoulli(settings.mixed_length_ratio)) choice = random.below(s.segments.size());
  TokenBatch batch;
  batch.batch = static_cast<int>(settings.batch_size);
  for (std::int64_t i = 0; i < settings.batch_size; ++i) {
    if (before_sample) before_sample();
    const std::uint64_t sample = s.first_sample + static_cast<std::uint64_t>(offset) +
                                 index * static_cast<std::uint64_t>(settings.batch_size) +
                                 static_cast<std::uint64_t>(i);
    const auto [task, rank] = mixture_.at(Split::kTrain, sample);
    const Source& source = s.train[choice][task];
    append_sample(batch, source.draw(source.first_index + rank - s.first_ranks[task]));
  }
  return batch;
}

TokenBatch Curriculum::validation_batch(std::size_t stage, std::int64_t index) const {
  const std::int64_t size = config_.train.stages[stage].batch_size;
  TokenBatch batch;
  const std::int64_t end = std::min(num_validation_samples(stage), (index + 1) * size);
  for (std::int64_t i = index * size; i < end; ++i) {
    const auto [task, rank] = mixture_.at(Split::kValidation, static_cast<std::uint64_t>(i));
    append_sample(batch, stages_[stage].validation[task].draw(rank));
  }
  batch.batch = static_cast<int>(batch.sequences.size());
  return batch;
}

RetrievalSampler make_test_retrieval(const DataConfig& data, std::uint64_t seed, const ModelConfig& model,
                                     const std::string& length, std::int64_t trained_segments) {
  const EvalLength parsed = parse_eval_length(length);
  if (!parsed.is_pairs && !parsed.is_multiple) {
    throw UsageError(
        cat("length ", length, ": associative retrieval is measured in pairs (50p) or trained lengths (4x)"));
  }
  const std::int64_t pairs =
      parsed.is_pairs ? parsed.amount : parsed.amount * trained_segments * data.retrieval.pairs_per_segment;
  return RetrievalSampler(data.retrieval, pairs, model.segment_size(), seed, Split::kTest);
}

BabilongSampler make_test_sampler(const DataConfig& data, std::uint64_t seed, const Tokenizer& tokenizer,
                                  std::int32_t end_id, std::shared_ptr<const BookText> books, const std::string& task,
                                  const std::string& length, std::int64_t segment_size, std::int64_t trained_segments,
                                  std::int64_t reserved) {
  const EvalLength parsed = parse_eval_length(length);
  if (parsed.is_pairs) throw UsageError(cat("length ", length, " counts pairs, ", task, " is measured in tokens (4k)"));
  EvalSetConfig set;
  set.babilong = base_config(data, task);
  set.babilong.segment_size = segment_size;
  set.babilong.end_id = end_id;
  set.split = Split::kTest;
  std::int64_t tokens = parsed.is_multiple ? parsed.amount * segment_size * trained_segments : parsed.amount;
  if (tokens > 0 && tokens <= reserved) {
    throw UsageError(cat("length ", length, " is ", tokens, " tokens, the prompt of ", task, " alone has ", reserved));
  }
  if (tokens > 0) tokens -= reserved;
  set.length = std::to_string(tokens);
  return eval_sampler(set, tokenizer, std::move(books), seed);
}

}  // namespace wt
