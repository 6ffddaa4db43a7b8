// AdamW over a parameter store (kernels/adamw.h has the arithmetic): one pair of moments per stacked parameter, decay
// where the parameter's registration says so. Frozen parameters, and frozen parts of others, are left alone.
#pragma once

#include "autograd/parameter.h"
#include "core/safetensors.h"
#include "train/config.h"

namespace wt {

class AdamW {
 public:
  AdamW(ParameterStore& store, const OptimizerConfig& config, const Stream& stream = {});

  // √Σ g² over all trainable parameters; not finite where any gradient is not.
  double grad_norm() const;
  // One update with this learning rate, from the gradients times `scale`, their elements then limited to ±clip_value
  // (0: no limit).
  void step(double lr, double scale = 1, double clip_value = 0);

  std::int64_t num_steps() const { return num_steps_; }
  // Moments to zero, step 0: what a curriculum stage starts with.
  void reset();

  // The moments as "exp_avg.<published name>" and "exp_avg_sq.<published name>".
  // Of what trains.
  NamedTensors state() const;
  // Throws Error naming the tensor that is missing or of another shape.
  void load(const SafetensorsFile& file, std::int64_t num_steps);

 private:
  struct Moments {
    Parameter* parameter;
    Tensor first, second;
    std::vector<std::pair<std::int64_t, std::int64_t>> rows;  // those that train (Parameter::as_rows)
  };
  OptimizerConfig config_;
  Stream stream_;
  std::vector<Moments> moments_;
  std::int64_t num_steps_ = 0;
};

// Learning rate of step `step` (counted from 0) of a stage: a linear rise over the warm-up, then constant, or falling
// in a line or half a cosine to min_lr_ratio · lr at the stage's last step.
double learning_rate(const StageConfig& stage, std::int64_t step);

}  // namespace wt
