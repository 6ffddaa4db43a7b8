#include "train/trainer.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/files.h"
#include "core/json.h"
#include "core/memory.h"
#include "kernels/memory.h"
#include "layers/adapter.h"
#include "train/costs.h"
#include "train/freeze.h"
#include "train/models/end_tokens.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/model_io.h"
#include "train/notice.h"
#include "train/open_books.h"
#include "train/units.h"

namespace wt {
namespace fs = std::filesystem;
namespace {

// Of a forward pass over the rows there are: padding is no work asked for.
double batch_flops(const Model& model, const TokenBatch& batch) {
  double flops = forward_flops(model.config(), 0, 0, batch.num_targets());
  for (const auto& ids : batch.sequences) flops += sequence_flops(model, static_cast<std::int64_t>(ids.size()));
  return flops;
}

// The tokens that end a text: the task's own, the configuration's, those of the folder the model comes from, or the
// tokenizer's.
std::vector<std::int64_t> resolve_end_tokens(const Config& config, const Tokenizer& tokenizer,
                                             std::int64_t vocab_size) {
  std::vector<std::int64_t> ids = config.model.eos_ids;
  for (const std::int64_t id : ids) {
    if (id >= vocab_size) config.places.fail("model.eos_id", cat("is ", id, ", the vocabulary has ", vocab_size));
  }
  if (config.data.is_retrieval()) {
    const std::int64_t own = find_end_token(tokenizer);
    if (!ids.empty() && ids != std::vector{own}) {
      config.places.fail("model.eos_id", cat("is ", ids.front(), ", the task's own tokenizer ends texts with ", own));
    }
    return {own};
  }
  if (!config.model_from.empty()) {
    const auto from = end_tokens(find_model(config.model_from), tokenizer);
    ids.assign(from.begin(), from.end());
  }
  if (ids.empty()) ids = {find_end_token(tokenizer)};
  return ids;
}

}  // namespace

Tokenizer load_tokenizer(const Config& config) {
  if (!config.model_from.empty() && !fs::is_directory(config.model_from)) {
    config.places.fail("model.from", cat("no folder ", config.model_from,
                                         "; expected config.json, model.safetensors and tokenizer.json in it: "
                                         "'model.from=DIR data.tokenizer=DIR' names yours"));
  }
  return config.data.is_retrieval() ? retrieval_tokenizer(config.data.retrieval)
                                    : Tokenizer::load(config.data.tokenizer);
}

ModelConfig resolve_model(const Config& config, const Tokenizer& tokenizer) {
  ModelConfig model = config.model;
  if (!config.model_from.empty()) {
    model = read_model_config(find_model(config.model_from).config);
    model.dropout = config.model.dropout;
    model.has_lora = config.model.has_lora;  // the folder's own adapters are merged as they are read
    model.lora = config.model.lora;
    if (config.model.has_memory()) {
      if ((model.has_armt && config.model.has_rmt) || (model.has_rmt && config.model.has_armt)) {
        config.places.fail(model.has_armt ? "model.rmt" : "model.armt",
                           cat("the model of ", config.model_from, " has the other memory already"));
      }
      model.has_armt = config.model.has_armt;
      model.armt = config.model.armt;
      model.has_rmt = config.model.has_rmt;
      model.rmt = config.model.rmt;
      model.window = 0;
    }
    if (config.model.window > 0) {
      if (model.has_memory())
        config.places.fail("model.window", cat("the model of ", config.model_from, " has a memory"));
      model.window = config.model.window;
    }
    check_model(model,
                [&](const std::string& key, const std::string& what) { config.places.fail("model." + key, what); });
  }
  if (model.vocab_size == 0) model.vocab_size = tokenizer.vocab_size();
  if (model.vocab_size < tokenizer.vocab_size()) {
    config.places.fail("model.vocab_size",
                       cat("is ", model.vocab_size, ", the tokenizer has ids up to ", tokenizer.vocab_size() - 1));
  }
  model.eos_ids = resolve_end_tokens(config, tokenizer, model.vocab_size);
  if (model.has_lora) {
    ModelConfig backbone = model;
    backbone.has_lora = false;
    const Model names(backbone, DType::kF32, {}, WeightUse::kNamesOnly);
    if (const auto unmatched = find_unmatched_target(model.lora, names.parameters())) {
      config.places.fail(cat("model.lora.targets.", unmatched->first), unmatched->second);
    }
  }
  return model;
}

std::string TrainState::json() const {
  const nlohmann::ordered_json j{{"stage", stage},
                                 {"stage_step", stage_step},
                                 {"step", step},
                                 {"skipped", skipped},
                                 {"optimizer_steps", optimizer_steps},
                                 {"stage_done", stage_done},
                                 {"validation_due", validation_due},
                                 {"best_step", best_step},
                                 {"best_exact_match", best_exact_match},
                                 {"best_loss", best_loss},
                                 {"validations_since_best", validations_since_best},
                                 {"tokens", tokens}};
  return j.dump(2) + "\n";
}

TrainState TrainState::from_json(const std::string& text, const std::string& name) {
  const nlohmann::json j = parse_json(text, name);
  try {
    TrainState s;
    const auto integer = [&](const char* key, std::int64_t& value, std::int64_t least) {
      const auto& number = j.at(key);
      // Far above every run, and products of them stay below 2^63.
      if (!number.is_number_integer() || number < least || number > (std::int64_t{1} << 48)) {
        throw Error(
            cat(name, ": ", key, " is ", number.dump().substr(0, 60), ", expected a whole number, at least ", least));
      }
      value = number.get<std::int64_t>();
    };
    integer("stage", s.stage, 0);
    integer("stage_step", s.stage_step, 0);
    integer("step", s.step, 0);
    integer("skipped", s.skipped, 0);
    integer("optimizer_steps", s.optimizer_steps, 0);
    j.at("stage_done").get_to(s.stage_done);
    j.at("validation_due").get_to(s.validation_due);
    integer("best_step", s.best_step, -1);
    j.at("best_exact_match").get_to(s.best_exact_match);
    j.at("best_loss").get_to(s.best_loss);
    integer("validations_since_best", s.validations_since_best, 0);
    integer("tokens", s.tokens, 0);
    return s;
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(name, ": is damaged, expected an object with the numbers of a run's state"));
  }
}

Trainer::Trainer(Config config, bool resume, std::FILE* out)
    : config_(std::move(config)),
      folder_(resume ? RunFolder::resume(config_.run.dir) : RunFolder::create(config_.run.dir)),
      resumed_(resume),
      out_(out) {
  if (config_.train.stages.empty()) config_.places.fail("train.stages", "is empty, expected at least one stage");
  if (config_.run.threads > 0) omp_set_num_threads(static_cast<int>(config_.run.threads));
  const Device device = device_from_name(config_.run.device);
  if (device.is_cpu() && config_.run.dtype == DType::kBF16) {
    config_.places.fail("run.dtype", "is bf16: a CPU trains in f32 or f64");
  }
  if (device.is_cuda() && config_.run.dtype == DType::kF64) {
    config_.places.fail("run.dtype", "is f64: a GPU trains in f32 or bf16");
  }
  // A run goes on with the tokenizer it began with, which its folder keeps.
  const std::string kept = resume ? tokenizer_in(folder_.path()) : std::string();
  const Tokenizer tokenizer = kept.empty() ? load_tokenizer(config_) : Tokenizer::load(kept);
  const ModelConfig model_config = resolve_model(config_, tokenizer);
  fit_schedule(config_, model_config);
  if (!config_.model_from.empty()) check_weights(model_config, find_model(config_.model_from), true);
  model_ = std::make_unique<Model>(model_config, config_.run.dtype, Stream(device));
  model_->parameters().initialize(static_cast<std::uint64_t>(config_.seed.weights));
  checkpoints_ = std::make_unique<CheckpointStore>(folder_.path(), StoreMode::kWrite);
  std::optional<Checkpoint> newest;
  if (resume) {
    newest = checkpoints_->load_newest(print_notice);
  }
  if (!config_.model_from.empty() && !newest) load_weights(*model_, find_model(config_.model_from), true);
  freeze_parameters(*model_, config_.train.freeze, [&](std::size_t pattern, const std::string& what) {
    config_.places.fail(cat("train.freeze.", pattern), what);
  });
  std::shared_ptr<const BookText> books;
  check_data_files(config_);
  if (config_.data.has_books()) books = open_books(config_.data.books, tokenizer);
  curriculum_ = std::make_unique<Curriculum>(config_, model_config, tokenizer, std::move(books));
  trained_share_ =
      static_cast<double>(model_->parameters().trainable_count()) / static_cast<double>(model_->parameters().count());
  optimizer_ = std::make_unique<AdamW>(model_->parameters(), config_.train.optimizer, model_->stream());
  const NamedTensors frozen = newest ? NamedTensors{} : published_weights(*model_, false);
  if (!frozen.empty()) checkpoints_->save_base(frozen);

  if (resume) {
    if (newest) {
      const std::string state_path = newest->folder + "/state.json";
      state_ = TrainState::from_json(newest->state_json, state_path);
      const auto stages = static_cast<std::int64_t>(config_.train.stages.size());
      WT_CHECK(state_.stage < stages, state_path, ": is of stage ", state_.stage + 1, ", the configuration has ",
               stages);
      load_tensors(*model_, newest->weights, true);
      if (const std::string base = checkpoints_->base(); !base.empty()) {
        load_tensors(*model_, SafetensorsFile::open(base), false);
      }
      optimizer_->load(newest->optimizer, state_.optimizer_steps);
      saved_step_ = state_.step;
      // A kill between saving the best checkpoint and marking it, or a damaged newest one, leaves the mark elsewhere.
      const std::vector<std::int64_t> steps = checkpoints_->steps();
      if (std::find(steps.begin(), steps.end(), state_.best_step) != steps.end()) {
        checkpoints_->mark_best(state_.best_step);
      }
    }
    truncate_metrics(folder_.metrics_path(), state_.step);
  } else {
    write_file(folder_.path() + "/config.json", format_model_config(model_config, wide(config_.run.dtype)));
    if (config_.data.is_retrieval()) {
      write_file(folder_.path() + "/tokenizer.json", retrieval_tokenizer_json(config_.data.retrieval));
    }
    // With the chat template: a fine-tuned model is to be talked to as the one it came from.
    copy_tokenizer(tokenizer.files(), folder_.path());
    // Last: with it the folder holds a run, which --resume must find whole.
    write_file(folder_.config_path(), config_yaml(config_));
  }
  metrics_ = std::make_unique<LineFile>(folder_.metrics_path());
  log_ = std::make_unique<LineFile>(folder_.log_path());
  tensorboard_ = std::make_unique<TensorBoardWriter>(folder_.path(), state_.step);
}

void Trainer::say(const std::string& line) {
  progress_->line(line);
  log_->line(line);
}

Trainer::StepResult Trainer::train_step(const StageConfig& stage, Loader<TokenBatch>& loader) {
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
    TokenBatch& first = batches.front();
    for (std::size_t i = 1; i < batches.size(); ++i) {
      TokenBatch& next = batches[i];
      std::move(next.sequences.begin(), next.sequences.end(), std::back_inserter(first.sequences));
      std::move(next.mask.begin(), next.mask.end(), std::back_inserter(first.mask));
    }
    batches.resize(1);
  }
  model_->parameters().zero_grad();
  Executor executor(*model_);
  ExecutorOptions options;
  options.gradients = true;
  options.training = true;
  options.activations = config_.train.activations;
  options.k2 = static_cast<int>(config_.train.k2);
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
  result.loss = sum / static_cast<double>(std::max<std::int64_t>(1, targets));
  result.grad_norm = optimizer_->grad_norm();
  result.lr = learning_rate(stage, state_.stage_step);
  // The guard: one step whose loss or gradient overflowed must not reach the weights.
  result.applied = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (result.applied) {
    const double limit = config_.train.clip_norm;
    optimizer_->step(result.lr, limit > 0 && result.grad_norm > limit ? limit / result.grad_norm : 1.0,
                     config_.train.clip_value);
  }
  return result;
}

std::optional<Validation> Trainer::validate(std::size_t stage, const StopSignals& signals) {
  Validation result;
  Executor executor(*model_);
  std::int64_t targets = 0, samples = 0, exact = 0;
  double sum = 0;
  LoaderOptions loading;
  loading.num_threads = static_cast<int>(config_.data.loader_threads);
  Loader<TokenBatch> loader(
      [this, stage](std::uint64_t index) {
        return curriculum_->validation_batch(stage, static_cast<std::int64_t>(index));
      },
      loading);
  while (true) {
    const TokenBatch batch = loader.next();
    if (batch.sequences.empty()) break;
    if (signals.requested()) return std::nullopt;
    State memory = model_->new_state(batch.batch);
    const LossResult loss = run_language_model(executor, *model_, batch, config_.train.wave_schedule, {}, 0, memory);
    sum += loss.sum;
    targets += loss.targets;
    std::size_t at = 0;
    for (const auto& mask : batch.mask) {
      bool all = true;
      for (std::size_t t = 0; t + 1 < mask.size(); ++t) {
        if (mask[t] != 0) all = loss.correct_by_target[at++] != 0 && all;
      }
      ++samples;
      exact += all ? 1 : 0;
    }
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
                     .json());
  tensorboard_->scalar("validation/exact_match", v.exact_match, state_.step);
  tensorboard_->scalar("validation/loss", v.loss, state_.step);
  if (better) {
    save();
    checkpoints_->mark_best(state_.step);
  }
}

void Trainer::save() {
  metrics_->sync();
  checkpoints_->save(state_.step, published_weights(*model_, true), optimizer_->state(), state_.json());
  checkpoints_->keep_newest(config_.train.keep_checkpoints);
  saved_step_ = state_.step;
}

// From the end of one stage to the beginning of the next: the stage's best or last weights.
void Trainer::begin_next_stage() {
  const StageConfig& next = config_.train.stages[static_cast<std::size_t>(state_.stage + 1)];
  if (next.start_from == StartFrom::kBest && state_.best_step >= 0 && state_.best_step != state_.step) {
    const Checkpoint best = checkpoints_->load(state_.best_step);
    load_tensors(*model_, best.weights, true);
    optimizer_->load(best.optimizer, TrainState::from_json(best.state_json, best.folder).optimizer_steps);
    say(fmt::format("stage {} goes on from step {}, the best of stage {}", state_.stage + 2, state_.best_step,
                    state_.stage + 1));
  }
  if (next.reset_optimizer) optimizer_->reset();
  ++state_.stage;
  state_.stage_step = 0;
  state_.stage_done = false;
  state_.optimizer_steps = optimizer_->num_steps();
  state_.best_step = -1;
  state_.best_exact_match = -1;
  state_.best_loss = 0;
  state_.validations_since_best = 0;
}

void Trainer::log_step(const StepResult& result) {
  StepStats stats;
  stats.step = state_.step;
  stats.total_steps = config_.train.total_steps();
  stats.stage = state_.stage + 1;
  stats.num_stages = static_cast<std::int64_t>(config_.train.stages.size());
  stats.loss = result.loss;
  stats.grad_norm = result.grad_norm;
  stats.lr = result.lr;
  stats.tokens_per_second = static_cast<double>(since_line_.tokens) / since_line_.seconds;
  stats.memory_bytes = memory_use(model_->stream().device()).peak;
  stats.mfu = since_line_.flops / since_line_.seconds / (peak_gflops_ * 1e9);
  stats.min_denominator = std::isinf(since_line_.min_denominator) ? -1 : since_line_.min_denominator;
  stats.skipped = state_.skipped;
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

void Trainer::take_step(const StageConfig& stage, Loader<TokenBatch>& loader) {
  const double start = steady_seconds();
  const StepResult result = train_step(stage, loader);
  since_line_.seconds += steady_seconds() - start;
  since_line_.tokens += result.tokens;
  since_line_.flops += result.flops;
  since_line_.min_denominator = kernels::smaller_denominator(since_line_.min_denominator, result.min_denominator);
  ++state_.step;
  ++state_.stage_step;
  state_.tokens += result.tokens;
  state_.optimizer_steps = optimizer_->num_steps();
  if (!result.applied) {
    ++state_.skipped;
    say(fmt::format("step {} skipped: loss {} gradient norm {} smallest memory denominator {:.2g}", state_.step,
                    result.loss, result.grad_norm, result.min_denominator));
  }
  if (state_.stage_step >= stage.steps) state_.stage_done = true;
  const std::int64_t every = config_.train.validate_every;
  state_.validation_due = state_.stage_done || (every > 0 && state_.stage_step % every == 0);
  progress_->update(planned_steps(), fmt::format("loss {:.3f}", result.loss));
  if (state_.step % config_.train.log_every == 0 || state_.stage_done) log_step(result);
}

std::int64_t Trainer::planned_steps() const {
  std::int64_t steps = state_.stage_step;
  for (std::int64_t i = 0; i < state_.stage; ++i) steps += config_.train.stages[static_cast<std::size_t>(i)].steps;
  return steps;
}

void Trainer::run_stage(std::size_t stage, const StopSignals& signals) {
  const StageConfig& settings = config_.train.stages[stage];
  say(fmt::format("stage {}/{}{}: {} step{} of {} samples, up to {} segment{}", stage + 1, config_.train.stages.size(),
                  settings.name.empty() ? "" : " " + settings.name, settings.steps, settings.steps == 1 ? "" : "s",
                  settings.batch_size * config_.train.grad_accumulation, settings.max_segments(),
                  settings.max_segments() == 1 ? "" : "s"));
  LoaderOptions loading;
  loading.num_threads = static_cast<int>(config_.data.loader_threads);
  loading.batches_at_once = config_.train.grad_accumulation;
  loading.first_index = static_cast<std::uint64_t>(state_.stage_step * config_.train.grad_accumulation);
  Loader<TokenBatch> loader([this, stage](std::uint64_t index) { return curriculum_->train_batch(stage, index); },
                            loading);
  begin_line();
  progress_->count_from(planned_steps());  // the stage before may have ended early
  while (state_.validation_due || !state_.stage_done) {
    if (signals.requested()) return;
    const bool resumed_validation = state_.validation_due;
    if (!resumed_validation) take_step(settings, loader);
    if (state_.validation_due) {
      const std::optional<Validation> validation = validate(stage, signals);
      if (!validation) return;
      state_.validation_due = false;
      saved_step_ = -1;  // a checkpoint of this step, where there is one, still has it due
      judge(*validation, settings);
    }
    const std::int64_t every = config_.train.checkpoint_every;
    const bool checkpoint_due = state_.stage_done || resumed_validation || (every > 0 && state_.step % every == 0);
    if (checkpoint_due && saved_step_ != state_.step) save();
  }
}

int Trainer::run() {
  const StopSignals signals;
  peak_gflops_ = measure_gemm_rate(model_->stream(), model_->dtype());
  progress_ = std::make_unique<Progress>(out_, "train", config_.train.total_steps());
  const ModelConfig& model = model_->config();
  say(fmt::format(
      "{} of {} parameters, {} layers of width {}; {} schedule; {} threads, {:.0f} GFLOP/s in matrix products",
      model.has_memory() ? fmt::format("{} with memory{}", name_of(model.type), model.has_rmt ? " (RMT)" : "")
      : model.window > 0 ? fmt::format("{} with a window of {} tokens", name_of(model.type), model.window)
                         : std::string(name_of(model.type)),
      human_count(static_cast<double>(model_->parameters().count())), model.num_layers, model.hidden_size,
      name_of(config_.train.wave_schedule), omp_get_max_threads(), peak_gflops_));
  if (const std::int64_t trained = model_->parameters().trainable_count(); trained < model_->parameters().count()) {
    say(fmt::format("{} of them train, the others are frozen", human_count(static_cast<double>(trained))));
  }
  for (const std::string& notice : curriculum_->notices()) say(notice);
  if (resumed_) say(fmt::format("resumed at step {}", state_.step));
  while (true) {
    run_stage(static_cast<std::size_t>(state_.stage), signals);
    if (!state_.stage_done || state_.stage + 1 >= static_cast<std::int64_t>(config_.train.stages.size())) break;
    if (signals.requested()) break;
    begin_next_stage();
  }
  if (signals.requested()) {
    if (saved_step_ != state_.step) save();
    say(fmt::format("stopped at step {} by signal {}; go on with --resume", state_.step, signals.received()));
  } else {
    say(fmt::format("trained {} steps, {} tokens, {} skipped; best exact match of the last stage {:.3f} at step {}",
                    state_.step, human_count(static_cast<double>(state_.tokens)), state_.skipped,
                    state_.best_exact_match, state_.best_step));
  }
  progress_.reset();
  return signals.received();
}

}  // namespace wt
