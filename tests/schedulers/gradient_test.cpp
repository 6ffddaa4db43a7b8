// The whole model's gradient against central differences, for every element of every parameter, on ragged batches of
// three, two and one segments; and its forward against a second implementation (reference_armt.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "tests/schedulers/reference_armt.h"
#include "tests/schedulers/support.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

// Two implementations of the same sums through two layers and three segments.
constexpr double kRounding = 1e-11;

struct Case {
  const char* name;
  std::string_view type;
  bool correction;
  int k2;
  SegmentAlignment alignment;
  bool with_memory;
  bool biases = false;  // in Llama's products
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

ExecutorOptions with_gradients(const Case& c) {
  ExecutorOptions options;
  options.gradients = true;
  options.k2 = c.k2;
  return options;
}

ModelConfig config_of(const Case& c) {
  ModelConfig config = tiny_config(c.type);
  config.armt->correction = c.correction;
  config.armt->segment_alignment = c.alignment;
  if (c.biases) config.attention().bias = config.feed_forward.bias = true;
  if (!c.with_memory) config.armt.reset();
  if (!c.with_memory) config.max_positions = 20;
  return config;
}

// Three, two and one segments of five tokens, with short ends.
TokenBatch ragged_batch(const ModelConfig& config) {
  return random_batch({13, 7, 4}, 3, config.vocab_size);
}

// The first model whose memory denominators all stay away from zero: difference quotients of 1/x ask for it.
std::unique_ptr<Model> well_conditioned_model(const ModelConfig& config, const TokenBatch& batch) {
  for (std::uint64_t seed = 1; seed < 300; ++seed) {
    std::unique_ptr<Model> model = tiny_model(config, DType::kF64, seed);
    Executor executor(*model);
    State state = model->new_state(batch.batch);
    run_language_model(executor, *model, batch, Schedule::kDiagonal, {}, 1, state);
    if (executor.min_denominator() > 0.1) return model;
  }
  throw Error("no well conditioned model found");
}

class WholeModel : public testing::TestWithParam<Case> {};
class WholeModelGradients : public testing::TestWithParam<Case> {};

TEST_P(WholeModelGradients, MatchDifferences) {
  const Case& c = GetParam();
  const ModelConfig config = config_of(c);
  const TokenBatch batch = ragged_batch(config);
  const std::unique_ptr<Model> model = well_conditioned_model(config, batch);
  ReferenceArmt reference(*model, c.k2);
  const double loss = reference.loss(batch);
  reference.freeze();
  ASSERT_DOUBLE_EQ(reference.loss(batch), loss);

  const StepResult step = run_step(*model, batch, Schedule::kDiagonal, with_gradients(c));
  EXPECT_NEAR(step.loss, loss, kRounding * loss);
  double worst = 0;
  int compared = 0, with_gradient = 0;
  std::size_t at = 0;
  std::string where;
  for (const PublishedTensor& tensor : model->parameters().published()) {
    const auto& [name, grad] = step.grads[at++];
    ASSERT_EQ(name, tensor.name);
    for (std::int64_t i = 0; i < tensor.value.numel(); ++i) {
      double& x = tensor.value.data<double>()[i];
      const double analytic = grad[static_cast<std::size_t>(i)];
      const auto difference = [&](double step_size) {
        const double middle = x;
        x = middle + step_size;
        const double up = reference.loss(batch);
        x = middle - step_size;
        const double down = reference.loss(batch);
        x = middle;
        return (up - down) / (2 * step_size);
      };
      double numeric = difference(kGradcheckStep);
      // Where the loss bends sharply the difference itself is off by more than the tolerance: two steps together cancel
      // the third derivative.
      if (!(gradient_error(analytic, numeric) < kGradcheck / 2)) {
        numeric = (4 * difference(kGradcheckStep) - difference(2 * kGradcheckStep)) / 3;
      }
      const double error = gradient_error(analytic, numeric);
      ++compared;
      with_gradient += numeric != 0 ? 1 : 0;
      if (error > worst) {
        worst = error;
        where = cat(name, "[", i, "]: ", analytic, ", differences give ", numeric);
      }
    }
  }
  EXPECT_LT(worst, kGradcheck) << where;
  EXPECT_EQ(compared, model->parameters().count());
  // With a cut before every segment nothing written is read with a gradient; else nearly every element has one.
  EXPECT_GT(with_gradient, compared * (c.k2 == 1 ? 5 : 9) / 10);
}

TEST_P(WholeModel, ForwardMatchesTheReferenceOnEverySchedule) {
  const Case& c = GetParam();
  const ModelConfig config = config_of(c);
  const std::unique_ptr<Model> model = tiny_model(config);
  const TokenBatch batch = ragged_batch(config);
  ReferenceArmt reference(*model);
  const double loss = reference.loss(batch);
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    Executor executor(*model);
    State state = model->new_state(3);
    EXPECT_NEAR(run_language_model(executor, *model, batch, schedule, {}, 1, state).sum, loss, kRounding * loss);

    for (std::size_t q = 0; q < 3 && c.with_memory; ++q) {
      for (int l = 0; l < model->num_layers(); ++l) {
        const auto& expected = reference.states[q][static_cast<std::size_t>(l)];
        const auto a = state[0].select(l).select(static_cast<std::int64_t>(q)).to_vector<double>();
        const auto z = state[1].select(l).select(static_cast<std::int64_t>(q)).to_vector<double>();
        for (std::size_t i = 0; i < a.size(); ++i) EXPECT_LT(gradient_error(a[i], expected.a[i]), kRounding);
        for (std::size_t i = 0; i < z.size(); ++i) EXPECT_LT(gradient_error(z[i], expected.z[i]), kRounding);
      }
    }
  }
}

constexpr SegmentAlignment kLeft = SegmentAlignment::kLeft;
constexpr Case kLlama{"llama", "llama", false, 0, kLeft, true};
constexpr Case kLlamaCorrection{"llama_correction", "llama", true, 0, kLeft, true};
constexpr Case kGpt2{"gpt2", "gpt2", false, 0, kLeft, true};
constexpr Case kGpt2Correction{"gpt2_correction", "gpt2", true, 0, kLeft, true};
constexpr Case kLlamaBiases{"llama_biases", "llama", true, 0, kLeft, true, true};
constexpr Case kPlainLlama{"plain_llama", "llama", true, 0, kLeft, false};
constexpr Case kPlainGpt2{"plain_gpt2", "gpt2", true, 0, kLeft, false};
constexpr Case kHybrid{"hybrid", "hybrid", true, 0, kLeft, true};
constexpr Case kPlainHybrid{"plain_hybrid", "hybrid", true, 0, kLeft, false};

std::string case_name(const testing::TestParamInfo<Case>& given) {
  return given.param.name;
}

INSTANTIATE_TEST_SUITE_P(Armt, WholeModelGradients,
                         testing::Values(kLlama, kLlamaCorrection, kGpt2, kGpt2Correction, kPlainLlama, kPlainGpt2,
                                         kLlamaBiases, kHybrid, kPlainHybrid,
                                         Case{"hybrid_k2_2", "hybrid", true, 2, kLeft, true},
                                         Case{"llama_k2_1", "llama", true, 1, kLeft, true},
                                         Case{"gpt2_k2_2", "gpt2", true, 2, kLeft, true}),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Armt, WholeModel,
                         testing::Values(kLlama, kLlamaCorrection, kGpt2, kGpt2Correction, kPlainLlama, kPlainGpt2,
                                         kLlamaBiases, kHybrid, kPlainHybrid,
                                         Case{"right", "llama", true, 0, SegmentAlignment::kRight, true},
                                         Case{"center", "llama", true, 0, SegmentAlignment::kCenter, true}),
                         case_name);

TEST(WholeModelGradient, CutsChangeIt) {
  // The k2 cases above would not see a cut that is ignored if gradients through the state were nothing.
  const Case& c = kLlamaCorrection;
  const ModelConfig config = config_of(c);
  const std::unique_ptr<Model> model = tiny_model(config);
  const TokenBatch batch = ragged_batch(config);
  ExecutorOptions options = with_gradients(c);
  std::vector<std::vector<double>> keys;
  for (const int k2 : {0, 1, 2, 3}) {
    options.k2 = k2;
    for (const auto& [name, grad] : run_step(*model, batch, Schedule::kDiagonal, options).grads) {
      if (name == "memory_cell.model.model.layers.0.W_mv.weight") keys.push_back(grad);
    }
  }
  ASSERT_EQ(keys.size(), 4u);
  EXPECT_NE(keys[0], keys[1]);
  EXPECT_NE(keys[1], keys[2]);
  EXPECT_NE(keys[0], keys[2]);
  EXPECT_EQ(keys[0], keys[3]);  // no segment has the number 3
  // With k2 = 1 nothing that is written is read with a gradient.
  for (const double value : keys[1]) EXPECT_EQ(value, 0);
}

TEST(WholeModelGradient, IsScaledAndAdded) {
  const Case& c = kLlamaCorrection;
  const ModelConfig config = config_of(c);
  const std::unique_ptr<Model> model = tiny_model(config);
  const TokenBatch batch = ragged_batch(config);
  const StepResult once = run_step(*model, batch, Schedule::kDiagonal, with_gradients(c), 0.5);
  // A second step without zeroing.
  Executor executor(*model);
  State state = model->new_state(batch.batch);
  run_language_model(executor, *model, batch, Schedule::kDiagonal, with_gradients(c), 0.5, state);
  std::size_t at = 0;
  for (const PublishedTensor& tensor : model->parameters().published()) {
    const auto twice = tensor.grad.to_vector<double>();
    for (std::size_t i = 0; i < twice.size(); ++i)
      EXPECT_NEAR(twice[i], 2 * once.grads[at].second[i], 1e-12 * (1 + std::abs(twice[i])));
    ++at;
  }
}

TEST(WholeModelGradient, FrozenParametersGetNone) {
  const Case& c = kLlamaCorrection;
  const std::unique_ptr<Model> model = tiny_model(config_of(c)), other = tiny_model(config_of(c));
  const TokenBatch batch = ragged_batch(model->config());
  const StepResult all = run_step(*model, batch, Schedule::kDiagonal, with_gradients(c));
  // Only the associative memory and the memory tokens learn.
  for (const auto& parameter : other->parameters().all()) {
    const std::string& key = parameter->spec().key;
    parameter->trainable = key == "memory" || key.find("W_m") != std::string::npos;
  }
  other->parameters().zero_grad();
  Executor executor(*other);
  State state = other->new_state(batch.batch);
  run_language_model(executor, *other, batch, Schedule::kDiagonal, with_gradients(c), 1, state);
  int trained = 0;
  std::size_t at = 0;
  for (const PublishedTensor& tensor : other->parameters().published()) {
    const auto& [name, grad] = all.grads[at++];
    EXPECT_EQ(tensor.grad.defined(), tensor.parameter->trainable) << name;
    if (!tensor.grad.defined()) continue;
    EXPECT_EQ(tensor.grad.to_vector<double>(), grad) << name;
    ++trained;
  }
  EXPECT_EQ(trained, 1 + 5 * 2);
}

}  // namespace
}  // namespace wt
