// One step of a training and one validation: computed, judged, written down.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "kernels/memory.h"
#include "train/costs.h"
#include "train/run/provenance.h"
#include "train/run/trainer.h"

namespace wt {
namespace {

// Of a forward pass over the rows there are: padding is no work asked for.
double batch_flops(const Model& model, const TokenBatch& batch) {
  double flops = model.head_flops(batch.num_targets());
  for (const auto& ids : batch.sequences) flops += sequence_flops(model, static_cast<std::int64_t>(ids.size()));
  return flops;
}

// One spelling: processors make NaN with a sign.
double plain(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace

std::optional<Trainer::StepResult> Trainer::train_step(const StageConfig& stage, Loader<TokenBatch>& loader) try {
  StepResult result;
  std::vector<TokenBatch> batches;
  std::int64_t targets = 0;
  for (std::int64_t i = 0; i < config_.train.grad_accumulation; ++i) {
    batches.push_back(loader.next());
    targets += batches.back().num_targets();
    result.tokens += batches.back().num_tokens();
    result.flops += (2 + trained_share_) * batch_flops(*model_, batches.back());
  }
  // Streaming runs the accumulated batches back to back through full waves.
  if (config_.train.wave_schedule == Schedule::kStreaming) {
    for (std::size_t i = 1; i < batches.size(); ++i) batches.front().append(std::move(batches[i]));
    batches.resize(1);
  }
  model_->parameters().zero_grad();
  Executor executor(*model_);
  ExecutorOptions options;
  options.gradients = true;
  options.training = true;
  options.activations = config_.train.activations;
  options.k2 = static_cast<int>(config_.train.k2);
  options.before_wave = [this] { signals_->throw_if_requested(); };
  options.dropout.seed = static_cast<std::uint64_t>(config_.seed.dropout);
  double sum = 0;
  result.min_denominator = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    options.dropout.step = static_cast<std::uint64_t>(state_.step * config_.train.grad_accumulation) + i;
    State memory = model_->new_state(batches[i].batch);
    sum += run_language_model(executor, *model_, batches[i], config_.train.wave_schedule, options,
                              1.0 / static_cast<double>(std::max<std::int64_t>(1, targets)), memory)
               .sum;
    result.min_denominator = kernels::smaller_denominator(result.min_denominator, executor.min_denominator());
  }
  result.loss = plain(sum / static_cast<double>(std::max<std::int64_t>(1, targets)));
  result.grad_norm = plain(optimizer_->grad_norm());
  result.min_denominator = plain(result.min_denominator);
  result.lr = learning_rate(stage, state_.stage_step);
  // The guard: one step whose loss or gradient overflowed must not reach the weights.
  result.applied = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (result.applied) {
    const double limit = config_.train.clip_norm;
    optimizer_->step(result.lr, limit > 0 && result.grad_norm > limit ? limit / result.grad_norm : 1.0,
                     config_.train.clip_value);
  }
  return result;
} catch (const Stopped&) {
  return std::nullopt;
}

std::optional<Validation> Trainer::validate(std::size_t stage) {
  Validation result;
  Executor executor(*model_);
  std::int64_t targets = 0, samples = 0, exact = 0;
  double sum = 0;
  Progress bar(out_, "validate", curriculum_->num_validation_samples(stage), false);
  LoaderOptions loading;
  loading.num_threads = static_cast<int>(config_.data.loader_threads);
  const auto make = [this, stage](std::uint64_t index) {
    return curriculum_->validation_batch(stage, static_cast<std::int64_t>(index));
  };
  Loader<TokenBatch> loader(make, loading);
  while (true) {
    const TokenBatch batch = loader.next();
    if (batch.sequences.empty()) break;
    if (signals_->requested()) return std::nullopt;
    State memory = model_->new_state(batch.batch);
    const LossResult loss = run_language_model(executor, *model_, batch, config_.train.wave_schedule, {}, 0, memory);
    sum += loss.sum;
    targets += loss.targets;
    std::vector<bool> right(batch.sequences.size(), true);
    for (std::size_t i = 0; i < batch.targets.size(); ++i) {
      if (loss.correct_by_target[i] == 0) right[static_cast<std::size_t>(batch.targets[i].sequence)] = false;
    }
    samples += static_cast<std::int64_t>(right.size());
    exact += std::count(right.begin(), right.end(), true);
    bar.update(samples);
  }
  result.loss = sum / static_cast<double>(std::max<std::int64_t>(1, targets));
  result.exact_match = static_cast<double>(exact) / static_cast<double>(std::max<std::int64_t>(1, samples));
  return result;
}

void Trainer::judge(const Validation& v, const StageConfig& settings) {
  const bool finite = std::isfinite(v.loss);
  const bool better = finite && (state_.best_step < 0 || v.exact_match > state_.best_exact_match ||
                                 (v.exact_match == state_.best_exact_match && v.loss < state_.best_loss));
  if (better) {
    state_.best_step = state_.step;
    state_.best_exact_match = v.exact_match;
    state_.best_loss = v.loss;
    state_.validations_since_best = 0;
  } else {
    ++state_.validations_since_best;
  }
  const bool reached = finite && (settings.stop_metric == StopMetric::kExactMatch ? v.exact_match >= settings.stop_at
                                                                                  : v.loss <= settings.stop_at);
  const bool patience = config_.train.early_stopping_patience > 0 &&
                        state_.validations_since_best >= config_.train.early_stopping_patience;
  if (reached || patience) state_.stage_done = true;
  say(fmt::format(
      "validation step {} exact_match {:.3f} loss {:.4f}{}{}", state_.step, v.exact_match, v.loss,
      better ? " (best)" : "",
      reached    ? fmt::format(": stop_at {} reached, the stage ends", settings.stop_at)
      : patience ? fmt::format(": no new best in {} validations, the stage ends", config_.train.early_stopping_patience)
                 : ""));
  metrics_->line(MetricRecord()
                     .add("step", state_.step)
                     .add("stage", state_.stage + 1)
                     .add("validation_exact_match", v.exact_match)
                     .add("validation_loss", v.loss)
                     .add("tokens", state_.tokens)
                     .add("time", wall_seconds())
                     .add("seconds", seconds_so_far())
                     .json());
  tensorboard_->scalar("validation/exact_match", v.exact_match, state_.step);
  tensorboard_->scalar("validation/loss", v.loss, state_.step);
  if (better) {
    save();
    checkpoints_->mark_best(state_.step);
  }
}

void Trainer::log_step(const StepResult& result) {
  StepStats stats;
  stats.step = state_.step;
  stats.total_steps = total_steps();
  stats.stage = state_.stage + 1;
  stats.num_stages = static_cast<std::int64_t>(config_.train.stages.size());
  stats.loss = result.loss;
  stats.grad_norm = result.grad_norm;
  stats.lr = result.lr;
  stats.tokens_per_second = static_cast<double>(since_line_.tokens) / since_line_.seconds;
  stats.memory_bytes = memory_use(model_->stream().device()).peak;
  const double gflops = since_line_.flops / since_line_.seconds / 1e9;
  peak_gflops_ = std::max(peak_gflops_, gflops);  // the machine has just shown that it can do that
  stats.mfu = gflops / peak_gflops_;
  stats.min_denominator = std::isinf(since_line_.min_denominator) ? -1 : since_line_.min_denominator;
  stats.skipped = state_.skipped;
  stats.tokens = state_.tokens;
  stats.time = wall_seconds();
  stats.seconds = seconds_so_far();
  say(stats.str());
  metrics_->line(stats.record().json());
  for (const auto& [tag, value] : {std::pair{"train/loss", stats.loss},
                                   {"train/grad_norm", stats.grad_norm},
                                   {"train/lr", stats.lr},
                                   {"train/tokens_per_second", stats.tokens_per_second}}) {
    tensorboard_->scalar(tag, value, state_.step);
  }
  begin_line();
}

void Trainer::begin_line() {
  since_line_ = {};
  reset_peak(model_->stream().device());
}

}  // namespace wt
