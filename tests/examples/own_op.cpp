// An operation of one's own on the tape: y = c · tanh(x / c), which keeps values within ±c. Its backward,
// dx = dy · (1 - (y / c)²), is compared with central differences.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "autograd/tape.h"

namespace {

// What backward needs: y alone.
struct Saved {
  wt::Tensor y;
  double cap;
  int x_id, y_id;
  std::vector<wt::Tensor> tensors() const { return {y}; }
};

void soft_cap_backward(wt::BackwardPass& pass, const Saved& s) {
  const wt::Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;  // nobody wanted y's gradient
  const auto [dx, mode] = pass.slot(s.x_id, s.y);
  for (std::int64_t i = 0; i < s.y.numel(); ++i) {
    const double ratio = s.y.data<double>()[i] / s.cap, term = dy.data<double>()[i] * (1 - ratio * ratio);
    double& slot = dx.data<double>()[i];
    slot = mode == wt::GradMode::kAccumulate ? slot + term : term;
  }
}

wt::Var soft_cap(wt::Context& ctx, const wt::Var& x, double cap) {
  const wt::OpScope scope("soft_cap");
  const wt::Tensor y = wt::Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  for (std::int64_t i = 0; i < y.numel(); ++i) y.data<double>()[i] = cap * std::tanh(x.value.data<double>()[i] / cap);
  if (!ctx.recording()) return y;
  const wt::Var out = ctx.record->output(y, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("soft_cap", Saved{y, cap, x.id, out.id}, soft_cap_backward);
  return out;
}

// Σ wᵢ yᵢ with fixed weights, so that every output has a cotangent of its own.
double weighted_sum(const std::vector<double>& x, const std::vector<double>& weights, double cap) {
  double sum = 0;
  wt::Context ctx;
  const wt::Var y = soft_cap(ctx, wt::Tensor::from<double>({static_cast<std::int64_t>(x.size())}, x), cap);
  for (std::size_t i = 0; i < x.size(); ++i) sum += weights[i] * y.value.data<double>()[i];
  return sum;
}

}  // namespace

int main() {
  const std::vector<double> x{-3, -0.4, 0, 0.7, 12}, weights{0.3, -1.1, 0.8, 2, -0.6};
  constexpr double kCap = 2, kStep = 1e-6;

  wt::WaveRecord record;
  wt::Context ctx;
  ctx.record = &record;
  const wt::Var input = record.leaf(wt::Tensor::from<double>({5}, x));
  const wt::Var output = soft_cap(ctx, input, kCap);
  record.set_grad(output, wt::Tensor::from<double>({5}, weights));
  record.backward(ctx.stream);
  const std::vector<double> gradient = record.grad(input).to_vector<double>();

  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::vector<double> above = x, below = x;
    above[i] += kStep;
    below[i] -= kStep;
    const double expected = (weighted_sum(above, weights, kCap) - weighted_sum(below, weights, kCap)) / (2 * kStep);
    worst = std::max(worst, std::abs(gradient[i] - expected));
  }
  std::printf("largest error of the gradient %.1e\n", worst);
  return worst < 1e-8 ? 0 : 1;
}
