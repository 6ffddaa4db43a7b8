#include "train/run/trainer.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/files.h"
#include "kernels/memory.h"
#include "train/costs.h"
#include "train/eval/tensorboard_eval.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/model_io.h"
#include "train/run/data_files.h"
#include "train/run/provenance.h"
#include "train/run/run_setup.h"
#include "train/units.h"

namespace wt {
namespace fs = std::filesystem;

// In the order of what a user learns first: what is wrong with the configuration, then with its files.
Trainer::Trainer(Config config, const std::string& config_path, std::FILE* out)
    : config_(std::move(config)), out_(out) {
  RunFolder::refuse_run(config_.run.dir);
  RunSetup setup = set_up_run(config_);
  model_ = std::move(setup.model);
  curriculum_ = std::move(setup.curriculum);
  initialize_weights();
  folder_.emplace(RunFolder::create(config_.run.dir));
  try {
    make_folder(config_path, setup.tokenizer);
  } catch (...) {
    folder_->take_back();
    throw;
  }
}

Trainer::Trainer(ResumedRun run, std::FILE* out)
    : config_(std::move(run.config)),
      folder_(std::move(run.folder)),
      out_(out),
      resumed_(true),
      changes_(std::move(run.changes)),
      state_(run.state) {
  const std::string data_files = same_data_files();
  RunSetup setup = set_up_run(config_, same_tokenizer());
  check_same_model(setup);
  model_ = std::move(setup.model);
  curriculum_ = std::move(setup.curriculum);
  if (!run.newest) initialize_weights();
  prepare_training();
  if (run.newest) restore(*run.newest);
  truncate_metrics(folder_->metrics_path(), state_.step);
  if (!changes_.empty()) folder_->replace_config(config_yaml(config_));
  if (!run.given.empty()) write_file(folder_->given_path(), run.given);
  write_file(folder_->data_path(), data_files);
  open_logs();
}

void Trainer::initialize_weights() {
  model_->parameters().initialize(static_cast<std::uint64_t>(config_.seed.weights));
  if (!config_.model_from.empty()) load_weights(*model_, find_model(config_.model_from), true);
}

// The optimizer and the store of checkpoints, once the folder is there.
void Trainer::prepare_training() {
  checkpoints_ = std::make_unique<CheckpointStore>(folder_->path(), StoreMode::kWrite);
  trained_share_ =
      static_cast<double>(model_->parameters().trainable_count()) / static_cast<double>(model_->parameters().count());
  optimizer_ = std::make_unique<AdamW>(model_->parameters(), config_.train.optimizer, model_->stream());
}

void Trainer::make_folder(const std::string& config_path, const Tokenizer& tokenizer) {
  prepare_training();
  save_frozen();
  const std::string& dir = folder_->path();
  write_file(dir + "/config.json", format_model_config(model_->config(), wide(config_.run.dtype)));
  if (config_.data.is_retrieval()) {
    write_file(dir + "/tokenizer.json", retrieval_tokenizer_json(config_.data.retrieval));
  }
  // With the chat template: a fine-tuned model is to be talked to as the one it came from.
  copy_tokenizer(tokenizer.files(), dir);
  write_file(folder_->data_path(), describe_data_files(config_));
  write_file(folder_->given_path(), read_file(config_path));
  open_logs();
  // Last: with it the folder holds a run, which --resume must find whole.
  write_file(folder_->config_path(), config_yaml(config_));
}

// Weights that no step changes are written once.
void Trainer::save_frozen() {
  const NamedTensors frozen = published_weights(*model_, false);
  if (!frozen.empty()) checkpoints_->save_base(frozen);
}

// The description of the run's data files (train/run/data_files.h), which are what they were.
std::string Trainer::same_data_files() const {
  const bool is_kept = fs::exists(folder_->data_path());
  const std::string before = is_kept ? read_file(folder_->data_path()) : "";
  check_data_files(config_);
  std::string now = describe_data_files(config_, before);
  check_same_data(config_, load_config(folder_->config_path()), before, now);
  return now;
}

// A run goes on with the tokenizer it began with, which its folder keeps. Where data.tokenizer is there, it must be
// that one still.
std::optional<Tokenizer> Trainer::same_tokenizer() const {
  const std::string path = tokenizer_in(folder_->path());
  if (path.empty()) return std::nullopt;
  Tokenizer kept = Tokenizer::load(path);
  if (!config_.data.is_retrieval() && fs::exists(config_.data.tokenizer)) {
    const std::string now = Tokenizer::load(config_.data.tokenizer).fingerprint();
    if (now != kept.fingerprint()) {
      config_.places.fail("data.tokenizer", cat("is ", config_.data.tokenizer, " with fingerprint ", now,
                                                ", but the run was trained with that in ", folder_->path(),
                                                ", of fingerprint ", kept.fingerprint()));
    }
  }
  return kept;
}

void Trainer::check_same_model(const RunSetup& setup) const {
  const std::string& dir = folder_->path();
  const std::string text = format_model_config(setup.model->config(), wide(config_.run.dtype));
  if (!(parse_model_config(text, "the model") == read_model_config(dir))) {
    config_.places.fail("model", cat("is not the model that ", dir, "/config.json describes, which the run trains"));
  }
}

void Trainer::restore(const Checkpoint& newest) {
  load_tensors(*model_, newest.weights, true);
  if (const std::string base = checkpoints_->base(); !base.empty()) {
    load_tensors(*model_, SafetensorsFile::open(base), false);
  }
  optimizer_->load(newest.optimizer, state_.optimizer_steps);
  saved_step_ = state_.step;
  // A kill between saving the best checkpoint and marking it, or a damaged newest one, leaves the mark elsewhere.
  const std::vector<std::int64_t> steps = checkpoints_->steps();
  if (std::find(steps.begin(), steps.end(), state_.best_step) != steps.end()) {
    checkpoints_->mark_best(state_.best_step);
  }
}

void Trainer::open_logs() {
  metrics_ = std::make_unique<LineFile>(folder_->metrics_path());
  log_ = std::make_unique<LineFile>(folder_->log_path());
  // What was written of this step, an evaluation perhaps, stays.
  tensorboard_ = std::make_unique<TensorBoardWriter>(folder_->path(), resumed_ ? state_.step + 1 : 0);
  tensorboard_->text("config", markdown_code(config_yaml(config_)), state_.step);
}

void Trainer::say(const std::string& line) {
  progress_->line(line);
  log_->line(line);
}

void Trainer::say_what_trains() {
  const ModelConfig& model = model_->config();
  say(fmt::format(
      "{} of {} parameters, {} layers of width {}; {} schedule; {} threads, {:.0f} GFLOP/s in matrix products",
      model.has_memory()  ? fmt::format("{} with memory{}", model.family, model.rmt ? " (RMT)" : "")
      : model.window > 0  ? fmt::format("{} with a window of {} tokens", model.family, model.window)
      : model.recurrent() ? fmt::format("{} read by segments of {} tokens", model.family, model.segment_size())
                          : std::string(model.family),
      human_count(static_cast<double>(model_->parameters().count())), model.num_layers, model.hidden_size,
      name_of(config_.train.wave_schedule), omp_get_max_threads(), peak_gflops_));
  if (const std::int64_t trained = model_->parameters().trainable_count(); trained < model_->parameters().count()) {
    say(fmt::format("{} of them train, the others are frozen", human_count(static_cast<double>(trained))));
  }
}

bool Trainer::take_step(const StageConfig& stage, Loader<TokenBatch>& loader) {
  const double start = steady_seconds();
  const std::optional<StepResult> result = train_step(stage, loader);
  if (!result) return false;
  since_line_.seconds += steady_seconds() - start;
  since_line_.tokens += result->tokens;
  since_line_.flops += result->flops;
  since_line_.min_denominator = kernels::smaller_denominator(since_line_.min_denominator, result->min_denominator);
  ++state_.step;
  ++state_.stage_step;
  state_.tokens += result->tokens;
  state_.optimizer_steps = optimizer_->num_steps();
  count_skipped(*result);
  if (state_.stage_step >= stage.steps) state_.stage_done = true;
  const std::int64_t every = config_.train.validate_every;
  state_.validation_due = state_.stage_done || (every > 0 && state_.stage_step % every == 0);
  progress_->update(state_.step, fmt::format("loss {:.3f}", result->loss));
  if (state_.step % config_.train.log_every == 0 || state_.stage_done) log_step(*result);
  return true;
}

void Trainer::count_skipped(const StepResult& result) {
  if (result.applied) {
    state_.skipped_in_row = 0;
    return;
  }
  ++state_.skipped;
  ++state_.skipped_in_row;
  const std::string denominator = std::isinf(result.min_denominator)
                                      ? ""
                                      : fmt::format(" smallest memory denominator {:.2g}", result.min_denominator);
  say(fmt::format("step {} skipped: loss {} gradient norm {}{}", state_.step, result.loss, result.grad_norm,
                  denominator));
  const std::int64_t most = config_.train.max_skipped;
  if (most == 0 || state_.skipped_in_row < most) return;
  const std::vector<std::int64_t> steps = checkpoints_->steps();
  const std::string kept = steps.empty() ? "no checkpoint is from before them, so --resume begins anew"
                                         : cat("--resume goes on from step ", steps.back(), ", before them");
  const std::string message = cat(config_.run.dir, ": ", state_.skipped_in_row, " steps in a row, up to step ",
                                  state_.step, ", had no finite loss and gradient (train.max_skipped); ", kept,
                                  "; lower train.optimizer.lr, or limit the gradient with train.clip_norm");
  log_->line(message);
  throw Error(message);
}

std::int64_t Trainer::steps_left() const {
  const auto& stages = config_.train.stages;
  std::int64_t steps = 0;
  if (!state_.stage_done) steps += stages[static_cast<std::size_t>(state_.stage)].steps - state_.stage_step;
  for (std::size_t i = static_cast<std::size_t>(state_.stage) + 1; i < stages.size(); ++i) steps += stages[i].steps;
  return steps;
}

std::int64_t Trainer::total_steps() const {
  const std::int64_t steps = state_.step + steps_left();
  return max_steps_ > 0 ? std::max(state_.step, std::min(steps, max_steps_)) : steps;
}

// A checkpoint between skipped steps, whose weights may be what makes them so, takes no other one's place.
void Trainer::save() {
  metrics_->sync();
  state_.seconds = seconds_so_far();
  checkpoints_->save(state_.step, published_weights(*model_, true), optimizer_->state(), state_.json());
  if (state_.skipped_in_row == 0) checkpoints_->keep_newest(config_.train.keep_checkpoints);
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

void Trainer::run_stage(std::size_t stage) {
  const StageConfig& settings = config_.train.stages[stage];
  say(fmt::format("stage {}/{}{}: {} step{} of {} samples, up to {} segment{}", stage + 1, config_.train.stages.size(),
                  settings.name.empty() ? "" : " " + settings.name, settings.steps, settings.steps == 1 ? "" : "s",
                  settings.batch_size * config_.train.grad_accumulation, settings.max_segments(),
                  settings.max_segments() == 1 ? "" : "s"));
  LoaderOptions loading;
  loading.num_threads = static_cast<int>(config_.data.loader_threads);
  loading.batches_at_once = config_.train.grad_accumulation;
  loading.first_index = static_cast<std::uint64_t>(state_.stage_step * config_.train.grad_accumulation);
  const auto make = [this, stage](std::uint64_t index) {
    return curriculum_->train_batch(stage, index, state_.sample_offset, [this] { signals_->throw_if_requested(); });
  };
  Loader<TokenBatch> loader(make, loading);
  begin_line();
  const auto& stages = config_.train.stages;
  const bool at_most = std::any_of(stages.begin() + static_cast<std::ptrdiff_t>(stage), stages.end(),
                                   [&](const StageConfig& s) { return config_.train.may_end_early(s); });
  progress_->count_from(state_.step, total_steps(), at_most);  // the stage before may have ended early
  while (state_.validation_due || !state_.stage_done) {
    if (signals_->requested() || is_at_limit()) return;
    const bool resumed_validation = state_.validation_due;
    if (!resumed_validation && !take_step(settings, loader)) return;
    if (state_.validation_due) {
      const std::optional<Validation> validation = validate(stage);
      if (!validation) return;
      state_.validation_due = false;
      saved_step_ = -1;  // a checkpoint of this step, where there is one, still has it due
      judge(*validation, settings);
    }
    const std::int64_t every = config_.train.checkpoint_every;
    const bool is_good = state_.skipped_in_row == 0;
    const bool checkpoint_due =
        state_.stage_done || resumed_validation || (is_good && every > 0 && state_.step % every == 0);
    if (checkpoint_due && saved_step_ != state_.step) save();
  }
}

// Other programs' work makes a measurement low, never high: the best that this machine was seen to do counts.
void Trainer::record_start() {
  const Machine machine = this_machine(model_->stream().device(), model_->dtype());
  const std::string path = folder_->starts_path();
  peak_gflops_ = measure_gemm_rate(model_->stream(), model_->dtype());
  if (fs::exists(path)) peak_gflops_ = std::max(peak_gflops_, best_peak(read_file(path), machine));
  LineFile(path).line(start_record(machine, state_.step, peak_gflops_));
}

int Trainer::run(std::int64_t max_steps) {
  signals_.emplace();
  max_steps_ = max_steps;
  start_ = steady_seconds();
  seconds_before_ = state_.seconds;
  record_start();
  progress_ = std::make_unique<Progress>(out_, "train", total_steps());
  say_what_trains();
  for (const std::string& notice : curriculum_->notices()) say(notice);
  if (resumed_) say(fmt::format("resumed at step {}", state_.step));
  for (const ConfigChange& change : changes_) say(change.str());
  while (true) {
    run_stage(static_cast<std::size_t>(state_.stage));
    if (!state_.stage_done || state_.stage + 1 >= static_cast<std::int64_t>(config_.train.stages.size())) break;
    if (signals_->requested() || is_at_limit()) break;
    begin_next_stage();
  }
  const int signal = signals_->received();
  if (signal != 0) {
    if (saved_step_ != state_.step) save();
    say(fmt::format("stopped at step {} by signal {}; go on with --resume", state_.step, signal));
  } else if (const std::int64_t left = steps_left(); left > 0) {
    if (saved_step_ != state_.step) save();
    say(fmt::format("stopped at step {} of {} as --max-steps asks; go on with --resume", state_.step,
                    state_.step + left));
  } else {
    const std::string best = state_.best_step < 0
                                 ? "none: no validation had a finite loss"
                                 : fmt::format("{:.3f} at step {}", state_.best_exact_match, state_.best_step);
    say(fmt::format("trained {} steps, {} tokens, {} skipped; best exact match of the last stage {}", state_.step,
                    human_count(static_cast<double>(state_.tokens)), state_.skipped, best));
  }
  progress_.reset();
  signals_.reset();
  return signal;
}

}  // namespace wt
