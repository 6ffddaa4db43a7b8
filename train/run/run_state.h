// What a checkpoint knows of a run beside its tensors.
#pragma once

#include <cstdint>
#include <string>

namespace wt {

// Where a run stands. With the weights that train, those that do not (once for the run) and optimizer it is all that a
// checkpoint holds: data and dropout are functions of seeds and these counters.
struct TrainState {
  std::int64_t stage = 0;            // index
  std::int64_t stage_step = 0;       // steps done in the stage
  std::int64_t step = 0;             // steps done in the run
  std::int64_t skipped = 0;          // of those, not applied: loss or gradient was not finite
  std::int64_t skipped_in_row = 0;   // of those, since the last that was applied
  std::int64_t optimizer_steps = 0;  // of the moments: AdamW's t
  bool stage_done = false;           // early or not
  bool validation_due = false;       // of this step: a signal came before its end
  std::int64_t best_step = -1;       // of the stage, -1: there is none yet, nor the two that follow
  double best_exact_match = -1;
  double best_loss = 0;
  std::int64_t validations_since_best = 0;
  std::int64_t tokens = 0;         // read in training so far
  double seconds = 0;              // that training took so far
  std::int64_t sample_offset = 0;  // added to the samples' numbers, so that none comes back after a change of sizes

  std::string json() const;
  // Throws Error naming what is missing.
  static TrainState from_json(const std::string& text, const std::string& name);
};

}  // namespace wt
