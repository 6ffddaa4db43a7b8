// The checker itself: a deliberately wrong op must fail it, each in its own way.
#include "tests/support/gradcheck.h"

#include <gtest/gtest.h>

#include <functional>

namespace wt {
namespace {

// Softmax over rows of x_RN, with a backward to break.
struct Softmax {
  Tensor y;
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {y}; }
};

enum class Flaw {
  kNone,
  kScale,       // gradient times 1.001
  kSign,        // gradient negated
  kNoMean,      // the mean is not subtracted: wrong, but right for a cotangent of ones
  kMissingRow,  // the last row's gradient is not written
  kOverwrites,  // ignores what is in the slot
  kNoGradient,  // contributes nothing
};
Flaw flaw = Flaw::kNone;  // a backward is a plain function: what it is to do wrong stands here

void softmax_backward(BackwardPass& pass, const Softmax& s) {
  const Tensor dy = pass.take(s.y_id);
  if (flaw == Flaw::kNoGradient) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.y);
  if (mode == GradMode::kSkip) return;
  const std::int64_t rows = s.y.dim(0), n = s.y.dim(1);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (flaw == Flaw::kMissingRow && r == rows - 1) continue;
    const double* y = s.y.data<double>() + r * n;
    const double* g = dy.data<double>() + r * n;
    double mean = 0;
    for (std::int64_t i = 0; i < n && flaw != Flaw::kNoMean; ++i) mean += y[i] * g[i];
    for (std::int64_t i = 0; i < n; ++i) {
      double grad = y[i] * (g[i] - mean);
      if (flaw == Flaw::kScale) grad *= 1.001;
      if (flaw == Flaw::kSign) grad = -grad;
      double& out = dx.data<double>()[r * n + i];
      out = grad + (mode == GradMode::kAccumulate && flaw != Flaw::kOverwrites ? out : 0);
    }
  }
}

std::vector<Var> softmax(Context& ctx, const std::vector<Var>& x) {
  const Tensor& in = x[0].value;
  const Tensor y = Tensor::empty(ctx.stream, in.shape(), in.dtype());
  for (std::int64_t r = 0; r < in.dim(0); ++r) {
    double sum = 0;
    for (std::int64_t i = 0; i < in.dim(1); ++i) sum += std::exp(in.data<double>()[r * in.dim(1) + i]);
    for (std::int64_t i = 0; i < in.dim(1); ++i) {
      const std::int64_t at = r * in.dim(1) + i;
      y.data<double>()[at] = std::exp(in.data<double>()[at]) / sum;
    }
  }
  if (!ctx.recording()) return {y};
  const Var out = ctx.record->output(y, true);
  ctx.record->record("softmax", Softmax{y, x[0].id, out.id}, softmax_backward);
  return {out};
}

GradcheckRun check_softmax(Flaw what) {
  flaw = what;
  return run_gradcheck({.inputs = {{random_tensor({3, 4}, 1)}}, .op = softmax});
}

TEST(Gradcheck, RightOpPasses) {
  const GradcheckRun run = check_softmax(Flaw::kNone);
  EXPECT_EQ(run.failure, "");
  EXPECT_LT(run.worst, kGradcheck);
  EXPECT_EQ(run.compared, 12);
}

TEST(Gradcheck, WrongScaleFails) {
  const GradcheckRun run = check_softmax(Flaw::kScale);
  EXPECT_GT(run.worst, 1e-5);
  EXPECT_NE(run.failure, "");
}

TEST(Gradcheck, WrongSignFails) {
  EXPECT_GT(check_softmax(Flaw::kSign).worst, 1e-2);
}

TEST(Gradcheck, SoftmaxWithoutItsMeanFails) {
  EXPECT_GT(check_softmax(Flaw::kNoMean).worst, 1e-2);
}

TEST(Gradcheck, MissingGradientFails) {
  EXPECT_GT(check_softmax(Flaw::kNoGradient).worst, 1e-2);
}

TEST(Gradcheck, UnwrittenElementsFail) {
  // NaN from the poisoned memory counts as an infinite error. (Sanitizer builds have no pool: there the row holds
  // whatever the allocator left, which is as wrong.)
  EXPECT_GT(check_softmax(Flaw::kMissingRow).worst, 1e-2);
}

TEST(Gradcheck, OverwritingInsteadOfAddingFails) {
  const GradcheckRun run = check_softmax(Flaw::kOverwrites);
  EXPECT_LT(run.worst, kGradcheck);
  EXPECT_NE(run.failure.find("added to noise"), std::string::npos) << run.failure;
}

// y = p ∘ x with parameter gradients that are wrong.
struct Scaled {
  Tensor x;
  const Parameter* p;
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {x}; }
};
enum class ParameterFlaw { kNone, kOverwrites, kNeverFrozen, kHalf };
ParameterFlaw parameter_flaw = ParameterFlaw::kNone;

void scaled_backward(BackwardPass& pass, const Scaled& s) {
  const Tensor dy = pass.take(s.y_id);
  const Tensor dp = s.p->grad_slice(0, 1);
  const bool frozen = !s.p->trainable && parameter_flaw != ParameterFlaw::kNeverFrozen;
  for (std::int64_t i = 0; i < dy.numel() && !frozen; ++i) {
    double grad = dy.data<double>()[i] * s.x.data<double>()[i];
    if (parameter_flaw == ParameterFlaw::kHalf) grad *= 0.5;
    dp.data<double>()[i] = grad + (parameter_flaw == ParameterFlaw::kOverwrites ? 0 : dp.data<double>()[i]);
  }
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  for (std::int64_t i = 0; i < dy.numel() && mode != GradMode::kSkip; ++i) {
    double& out = dx.data<double>()[i];
    out = dy.data<double>()[i] * s.p->value().data<double>()[i] + (mode == GradMode::kAccumulate ? out : 0);
  }
}

GradcheckRun check_scaled(ParameterFlaw what) {
  parameter_flaw = what;
  Parameter p = random_parameter(1, {5}, 3);
  return run_gradcheck({.inputs = {{random_tensor({1, 5}, 1)}},
                        .parameters = {&p},
                        .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                          const Tensor y = x[0].value.clone(ctx.stream);
                          for (std::int64_t i = 0; i < 5; ++i) y.data<double>()[i] *= p.value().data<double>()[i];
                          if (!ctx.recording()) return {y};
                          const Var out = ctx.record->output(y, true);
                          ctx.record->record("scaled", Scaled{x[0].value, &p, x[0].id, out.id}, scaled_backward);
                          return {out};
                        }});
}

TEST(Gradcheck, RightParameterGradientPasses) {
  EXPECT_EQ(check_scaled(ParameterFlaw::kNone).failure, "");
}

TEST(Gradcheck, WrongParameterGradientFails) {
  EXPECT_GT(check_scaled(ParameterFlaw::kHalf).worst, 1e-2);
}

TEST(Gradcheck, ParameterGradientThatOverwritesFails) {
  const GradcheckRun run = check_scaled(ParameterFlaw::kOverwrites);
  EXPECT_NE(run.failure.find("added to noise"), std::string::npos) << run.failure;
}

TEST(Gradcheck, GradientOfAFrozenParameterFails) {
  const GradcheckRun run = check_scaled(ParameterFlaw::kNeverFrozen);
  EXPECT_NE(run.failure.find("frozen parameter 0"), std::string::npos) << run.failure;
}

TEST(Gradcheck, ForwardThatDiffersFromItsReferenceFails) {
  flaw = Flaw::kNone;
  const GradcheckRun run = run_gradcheck(
      {.inputs = {{random_tensor({3, 4}, 1)}}, .op = softmax, .reference = [](Context& ctx, const std::vector<Var>& x) {
         std::vector<Var> y = softmax(ctx, x);
         y[0].value.data<double>()[5] += 1e-9;
         return y;
       }});
  EXPECT_NE(run.failure.find("output 0: element 5"), std::string::npos) << run.failure;
}

}  // namespace
}  // namespace wt
