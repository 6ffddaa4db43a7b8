#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/adamw.h"

namespace wt {

AdamW::AdamW(ParameterStore& store, const OptimizerConfig& config) : config_(config) {
  for (const auto& parameter : store.all()) {
    if (!parameter->trainable) continue;
    const Shape& shape = parameter->value().shape();
    moments_.push_back(
        {parameter.get(), Tensor::zeros(stream_, shape, store.dtype()), Tensor::zeros(stream_, shape, store.dtype())});
  }
}

double AdamW::grad_norm() const {
  double sum = 0;
  for (const Moments& m : moments_) sum += kernels::sum_of_squares(stream_, m.parameter->grad());
  return std::sqrt(sum);
}

void AdamW::scale_gradients(double scale, double clip_value) {
  if (scale == 1 && clip_value == 0) return;
  for (const Moments& m : moments_) kernels::scale_and_clip(stream_, m.parameter->grad(), scale, clip_value);
}

void AdamW::step(double lr) {
  ++num_steps_;
  for (const Moments& m : moments_) {
    const kernels::AdamWStep options{
        lr,        config_.beta1, config_.beta2, config_.eps, m.parameter->spec().decay ? config_.weight_decay : 0,
        num_steps_};
    kernels::adamw(stream_, options, m.parameter->grad(), m.first, m.second, m.parameter->value());
  }
}

void AdamW::reset() {
  num_steps_ = 0;
  for (const Moments& m : moments_) {
    m.first.fill_zero(stream_);
    m.second.fill_zero(stream_);
  }
}

NamedTensors AdamW::state() const {
  NamedTensors tensors;
  for (const Moments& m : moments_) {
    for (const NamedTensors::value_type& view : m.parameter->published_views(m.first)) {
      tensors.emplace_back("exp_avg." + view.first, view.second);
    }
    for (const NamedTensors::value_type& view : m.parameter->published_views(m.second)) {
      tensors.emplace_back("exp_avg_sq." + view.first, view.second);
    }
  }
  return tensors;
}

void AdamW::load(const SafetensorsFile& file, std::int64_t num_steps) {
  for (const auto& [name, target] : state()) {
    const Tensor source = file.tensor(name);
    WT_CHECK(source.shape() == target.shape() && source.dtype() == target.dtype(), file.path(), ": tensor ", name,
             " is ", source, ", expected ", target);
    target.copy_from(stream_, source);
  }
  num_steps_ = num_steps;
}

double learning_rate(const StageConfig& stage, std::int64_t step) {
  const std::int64_t warmup = stage.warmup_steps();
  if (step < warmup) return stage.lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (stage.lr_schedule == LrSchedule::kConstant) return stage.lr;
  const auto length = static_cast<double>(std::max<std::int64_t>(1, stage.steps - warmup));
  const double done = std::min(1.0, static_cast<double>(step - warmup) / length);
  const double shape =
      stage.lr_schedule == LrSchedule::kLinear ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return stage.lr * (stage.min_lr_ratio + (1 - stage.min_lr_ratio) * shape);
}

}  // namespace wt
