#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/adamw.h"

namespace wt {

AdamW::AdamW(ParameterStore& store, const OptimizerConfig& config, const Stream& stream)
    : config_(config), stream_(stream) {
  for (const auto& parameter : store.all()) {
    if (!parameter->trainable) continue;
    const Shape& shape = parameter->value().shape();
    const DType dtype = wide(parameter->value().dtype());
    moments_.push_back({parameter.get(), Tensor::zeros(stream_, shape, dtype), Tensor::zeros(stream_, shape, dtype)});
  }
}

double AdamW::grad_norm() const {
  const Tensor sums = Tensor::empty(stream_, {static_cast<std::int64_t>(moments_.size())}, DType::kF64);
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    kernels::sum_of_squares(stream_, moments_[i].parameter->grad(), sums.slice(at, at + 1));
  }
  double sum = 0;
  for (const double part : sums.to_cpu(stream_).to_vector<double>()) sum += part;
  return std::sqrt(sum);
}

void AdamW::step(double lr, double scale, double clip_value) {
  ++num_steps_;
  for (const Moments& m : moments_) {
    const kernels::AdamWStep options{
        lr,    config_.beta1, config_.beta2, config_.eps, m.parameter->spec().decay ? config_.weight_decay : 0,
        scale, clip_value,    num_steps_};
    kernels::adamw(stream_, options, m.parameter->grad(), m.first, m.second, m.parameter->value(), m.parameter->low());
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
