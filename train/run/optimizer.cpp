#include "train/run/optimizer.h"

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
    moments_.push_back({parameter.get(), Tensor::zeros(stream_, shape, dtype), Tensor::zeros(stream_, shape, dtype),
                        parameter->trainable_rows()});
  }
}

double AdamW::grad_norm() const {
  std::int64_t count = 0, at = 0;
  for (const Moments& m : moments_) count += static_cast<std::int64_t>(m.rows.size());
  const Tensor sums = Tensor::empty(stream_, {count}, DType::kF64);
  for (const Moments& m : moments_) {
    const Tensor grad = Parameter::as_rows(m.parameter->grad());
    for (const auto& [begin, end] : m.rows) {
      kernels::sum_of_squares(stream_, grad.slice(begin, end), sums.slice(at, at + 1));
      ++at;
    }
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
    for (const auto& [begin, end] : m.rows) {
      const auto rows = [&, first = begin, last = end](const Tensor& t) {
        return t.defined() ? Parameter::as_rows(t).slice(first, last) : t;
      };
      kernels::adamw(stream_, options, rows(m.parameter->grad()), rows(m.first), rows(m.second),
                     rows(m.parameter->value()), rows(m.parameter->low()));
    }
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
    const auto add = [&](const char* prefix, const Tensor& moment) {
      const NamedTensors views = m.parameter->published_views(moment);
      for (std::size_t i = 0; i < views.size(); ++i) {
        if (m.parameter->is_trainable(i)) tensors.emplace_back(prefix + views[i].first, views[i].second);
      }
    };
    add("exp_avg.", m.first);
    add("exp_avg_sq.", m.second);
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
