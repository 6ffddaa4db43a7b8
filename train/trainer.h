// The training loop of a run: stages, steps, validation, checkpoints.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "layers/model.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/curriculum.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/progress.h"
#include "train/signals.h"
#include "train/tensorboard.h"

namespace wt {

// Where a run stands. With the weights that train, those that do not (once for the run) and optimizer it is all that a
// checkpoint holds: data and dropout are functions of seeds and these counters.
struct TrainState {
  std::int64_t stage = 0;            // index
  std::int64_t stage_step = 0;       // steps done in the stage
  std::int64_t step = 0;             // steps done in the run
  std::int64_t skipped = 0;          // of those, not applied: loss or gradient was not finite
  std::int64_t optimizer_steps = 0;  // of the moments: AdamW's t
  bool stage_done = false;           // early or not
  bool validation_due = false;       // of this step: a signal came before its end
  std::int64_t best_step = -1;       // of the stage
  double best_exact_match = -1;
  double best_loss = 0;
  std::int64_t validations_since_best = 0;
  std::int64_t tokens = 0;  // read in training so far

  std::string json() const;
  // Throws Error naming what is missing.
  static TrainState from_json(const std::string& text, const std::string& name);
};

// The tokenizer of a run's data: data.tokenizer, or the one that associative retrieval's options make. Throws
// UsageError with the key's place where the model to start from is not there: the tokenizer is mostly that model's.
Tokenizer load_tokenizer(const Config& config);

// The configured model with what only the tokenizer knows (vocabulary, end of text), or that of the folder to start
// from with the memory to add. Throws UsageError with the key's place.
ModelConfig resolve_model(const Config& config, const Tokenizer& tokenizer);

struct Validation {
  double loss = 0;         // of the last answer's tokens
  double exact_match = 0;  // share of samples whose answer tokens, end-of-text included, all had the largest logit
};

class Trainer {
 public:
  // Makes the run folder, or with `resume` takes up its newest checkpoint (a damaged one is reported and the one before
  // it used). Throws UsageError or Error.
  Trainer(Config config, bool resume, std::FILE* out);

  // Trains to the end, or until a signal asks to stop: then the state is saved first. Returns the signal, or 0.
  int run();

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
  StepResult train_step(const StageConfig& stage, Loader<TokenBatch>& loader);
  // A step with its place in the run: counters, progress, the step line where one is due.
  void take_step(const StageConfig& stage, Loader<TokenBatch>& loader);
  void log_step(const StepResult& result);
  void begin_line();
  // How far the run is among all stages' steps; a stage that ended early counts in full.
  std::int64_t planned_steps() const;
  // Nothing where a signal came before the last batch.
  std::optional<Validation> validate(std::size_t stage, const StopSignals& signals);
  void judge(const Validation& validation, const StageConfig& stage);
  void save();
  void begin_next_stage();
  void run_stage(std::size_t stage, const StopSignals& signals);
  void say(const std::string& line);

  Config config_;
  RunFolder folder_;
  bool resumed_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Curriculum> curriculum_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::unique_ptr<LineFile> metrics_, log_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  std::unique_ptr<Progress> progress_;
  std::FILE* out_;
  TrainState state_;
  Interval since_line_;
  std::int64_t saved_step_ = -1;
  double peak_gflops_ = 0;
  double trained_share_ = 1;  // of the parameters: only they have the third product of a step
};

}  // namespace wt
