// The training loop of a run: stages, steps, validation, checkpoints.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/model.h"
#include "train/config.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/run/checkpoint.h"
#include "train/run/curriculum.h"
#include "train/run/optimizer.h"
#include "train/run/resume.h"
#include "train/run/run_setup.h"
#include "train/run/run_state.h"
#include "train/run/tensorboard.h"
#include "train/signals.h"
#include "train/units.h"

namespace wt {

struct Validation {
  double loss = 0;         // of the last answer's tokens
  double exact_match = 0;  // share of samples whose answer tokens, end-of-text included, all had the largest logit
};

class Trainer {
 public:
  // A new run: everything is checked (set_up_run()) before its folder is made. Throws UsageError or Error, which leave
  // no folder behind.
  Trainer(Config config, const std::string& config_path, std::FILE* out);
  // A run to go on with. Throws UsageError where its data, tokenizer or model are no longer what they were.
  Trainer(ResumedRun run, std::FILE* out);

  // Trains to the end, or until a signal asks to stop, in the middle of a step too: then the state of the last whole
  // step is saved first. Returns the signal, or 0. Throws Error after train.max_skipped steps in a row without a finite
  // loss and gradient; the newest checkpoint is then from before them. `max_steps` of the run are taken at most, 0:
  // all; what is left is for --resume.
  int run(std::int64_t max_steps = 0);

 private:
  struct StepResult {
    double loss = 0, grad_norm = 0, lr = 0, min_denominator = 0, flops = 0;
    std::int64_t tokens = 0;
    bool applied = false;
  };
  // What the step line sums up since the one before.
  struct Interval {
    double seconds = 0, flops = 0, min_denominator = std::numeric_limits<double>::infinity();
    std::int64_t tokens = 0;
  };
  void initialize_weights();
  void prepare_training();
  void make_folder(const std::string& config_path, const Tokenizer& tokenizer);
  void save_frozen();
  std::string same_data_files() const;
  std::optional<Tokenizer> same_tokenizer() const;
  void check_same_model(const RunSetup& setup) const;
  void restore(const Checkpoint& checkpoint);
  void open_logs();

  // trainer_steps.cpp. Nothing where a signal came before the end: the weights are as before.
  std::optional<StepResult> train_step(const StageConfig& stage, Loader<TokenBatch>& loader);
  std::optional<Validation> validate(std::size_t stage);
  void judge(const Validation& validation, const StageConfig& stage);
  void log_step(const StepResult& result);
  void begin_line();

  // A step with its place in the run: counters, progress, the step line where one is due. False: stopped by a signal.
  bool take_step(const StageConfig& stage, Loader<TokenBatch>& loader);
  void count_skipped(const StepResult& result);
  // If no further stage ends early.
  std::int64_t steps_left() const;
  // Those taken and those left, to the limit.
  std::int64_t total_steps() const;
  bool is_at_limit() const { return max_steps_ > 0 && state_.step >= max_steps_ && !state_.validation_due; }
  // Measures what this machine can do, and writes down with what and on what the run goes on.
  void record_start();
  double seconds_so_far() const { return seconds_before_ + steady_seconds() - start_; }
  void save();
  void begin_next_stage();
  void run_stage(std::size_t stage);
  void say(const std::string& line);
  void say_what_trains();

  Config config_;
  std::optional<RunFolder> folder_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Curriculum> curriculum_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::unique_ptr<LineFile> metrics_, log_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  std::unique_ptr<Progress> progress_;
  std::optional<StopSignals> signals_;  // while run() runs
  std::FILE* out_;
  bool resumed_ = false;
  std::vector<ConfigChange> changes_;  // of a resumed run, to be said
  TrainState state_;
  Interval since_line_;
  std::int64_t saved_step_ = -1;
  std::int64_t max_steps_ = 0;
  double start_ = 0, seconds_before_ = 0;  // of run(), and of training before it
  double peak_gflops_ = 0;
  double trained_share_ = 1;  // of the parameters: only they have the third product of a step
};

}  // namespace wt
