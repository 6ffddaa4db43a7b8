// Layers that carry a text's state: cut into any segments a text gives what it gives as one, outputs, state and every
// gradient.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/schedulers/support.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

class AnySegments : public testing::TestWithParam<std::string_view> {
 protected:
  // `segment` tokens at once; weights and texts are the same ones.
  std::unique_ptr<Model> model(std::int64_t segment) const {
    ModelConfig config = without_memory(tiny_config(GetParam(), 4));
    set_segment_size(config, segment);
    return tiny_model(config);
  }

  // Attention adds a text's keys up in another order where it is cut.
  double rounding() const { return (GetParam() == "bamba" ? 5 : 1) * kSchedulesAgreeF64; }

  const TokenBatch batch_ = random_batch({29, 17, 4, 1, 12}, 2, 11);
};

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) error = std::max(error, gradient_error(a[i], b[i]));
  return error;
}

TEST_P(AnySegments, AreTheWholeText) {
  ExecutorOptions options;
  options.gradients = true;
  const auto run = [&](std::int64_t segment) {
    return run_step(*model(segment), batch_, Schedule::kDiagonal, options);
  };
  const StepResult whole = run(29);
  EXPECT_GT(whole.loss, 0);
  for (const std::int64_t segment : {1, 2, 3, 5, 8, 13, 28}) {
    const StepResult cut = run(segment);
    EXPECT_LT(gradient_error(cut.loss, whole.loss), rounding()) << segment;
    ASSERT_EQ(cut.grads.size(), whole.grads.size());
    for (std::size_t i = 0; i < cut.grads.size(); ++i) {
      EXPECT_LT(worst(cut.grads[i].second, whole.grads[i].second), rounding())
          << cut.grads[i].first << ", segments of " << segment;
    }
    const auto state = values_of(cut.state), wanted = values_of(whole.state);
    ASSERT_EQ(state.size(), wanted.size());
    for (std::size_t i = 0; i < state.size(); ++i) EXPECT_LT(worst(state[i], wanted[i]), rounding()) << segment;
  }
}

// Thousands of segments, and the gradient back through all of them.
TEST_P(AnySegments, ThousandsOfThemAreDifferentiated) {
  ModelConfig config = without_memory(tiny_config(GetParam(), 2));
  const TokenBatch batch = random_batch({3001}, 1, 11);
  ExecutorOptions options;
  options.gradients = true;
  std::vector<StepResult> results;
  for (const std::int64_t segment : {2, 250}) {
    set_segment_size(config, segment);
    options.activations = segment == 2 ? Activations::kRecompute : Activations::kKeep;
    results.push_back(run_step(*tiny_model(config, DType::kF64, 1, {}, 0.2), batch, Schedule::kDiagonal, options));
  }
  EXPECT_LT(gradient_error(results[0].loss, results[1].loss), 1e-10);
  for (std::size_t i = 0; i < results[0].grads.size(); ++i) {
    EXPECT_LT(worst(results[0].grads[i].second, results[1].grads[i].second), 1e-9) << results[0].grads[i].first;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, AnySegments, testing::Values<std::string_view>("mamba2", "bamba"),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace wt
