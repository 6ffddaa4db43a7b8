// Sequential is the oracle: diagonal and streaming give its outputs, memory and gradients to rounding, and recomputing
// gives what keeping gives to the bit.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/schedulers/support.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

struct Case {
  const char* name;
  std::vector<std::int64_t> lengths;
  int batch = 1;
  int layers = 3;
  int k2 = 0;
  double dropout = 0;
  std::string_view type = "llama";
  SegmentAlignment alignment = SegmentAlignment::kLeft;
  bool with_memory = true;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class Agreement : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    ModelConfig config = tiny_config(c.type, c.layers);
    config.dropout = c.dropout;
    config.armt->segment_alignment = c.alignment;
    if (!c.with_memory) config = without_memory(config);
    if (!c.with_memory) config.max_positions = 40;
    model_ = tiny_model(config);
    batch_ = random_batch(c.lengths, c.batch, config.vocab_size);
    options_.gradients = true;
    options_.training = c.dropout > 0;
    options_.k2 = c.k2;
    options_.dropout = {7, 3, 0};
  }

  StepResult run(Schedule schedule, Activations activations = Activations::kKeep) {
    options_.activations = activations;
    return run_step(*model_, batch_, schedule, options_);
  }

  // The last layer's output at every place.
  std::vector<double> outputs(Schedule schedule) {
    std::vector<TokenPlace> places;
    for (std::size_t q = 0; q < batch_.sequences.size(); ++q) {
      // Backwards: the order of the rows is the order asked for.
      for (auto t = static_cast<std::int64_t>(batch_.sequences[q].size()) - 1; t >= 0; --t)
        places.push_back({static_cast<std::int32_t>(q), t});
    }
    State state = model_->new_state(batch_.batch);
    Executor executor(*model_);
    ExecutorOptions options;
    options.gradients = options.training = options_.training;
    options.dropout = options_.dropout;
    return executor.forward(Work(*model_, batch_.sequences, batch_.batch, schedule, places), state, options)
        .to_vector<double>();
  }

  std::unique_ptr<Model> model_;
  TokenBatch batch_;
  ExecutorOptions options_;
};

double worst_error(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, gradient_error(a[i], b[i]));
  return worst;
}

TEST_P(Agreement, OutputsMemoryAndGradients) {
  const StepResult oracle = run(Schedule::kSequential);
  const std::vector<double> hidden = outputs(Schedule::kSequential);
  EXPECT_GT(oracle.loss, 0);
  for (const Schedule schedule : {Schedule::kDiagonal, Schedule::kStreaming}) {
    const StepResult step = run(schedule);
    EXPECT_LT(worst_error(outputs(schedule), hidden), kSchedulesAgreeF64) << name_of(schedule);
    EXPECT_LT(gradient_error(step.loss, oracle.loss), kSchedulesAgreeF64) << name_of(schedule);
    const auto state = values_of(step.state), wanted = values_of(oracle.state);
    for (std::size_t i = 0; i < state.size(); ++i) {
      EXPECT_LT(worst_error(state[i], wanted[i]), kSchedulesAgreeF64) << name_of(schedule);
    }
    for (std::size_t i = 0; i < step.grads.size(); ++i) {
      EXPECT_LT(worst_error(step.grads[i].second, oracle.grads[i].second), kSchedulesAgreeF64)
          << name_of(schedule) << " " << step.grads[i].first;
    }
    if (std::isinf(oracle.min_denominator)) {
      EXPECT_EQ(step.min_denominator, oracle.min_denominator);  // nothing was read
    } else {
      EXPECT_LT(gradient_error(step.min_denominator, oracle.min_denominator), kSchedulesAgreeF64);
    }
  }
}

TEST_P(Agreement, RecomputingChangesNoBit) {
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    const StepResult kept = run(schedule), again = run(schedule, Activations::kRecompute);
    EXPECT_EQ(kept.loss, again.loss);
    EXPECT_EQ(values_of(kept.state), values_of(again.state)) << name_of(schedule);
    EXPECT_EQ(kept.grads, again.grads) << name_of(schedule);
    EXPECT_EQ(kept.min_denominator, again.min_denominator);
    EXPECT_LT(again.saved_bytes, kept.saved_bytes / 2);
  }
}

TEST_P(Agreement, ForwardIsTheSameWithAndWithoutATape) {
  options_.training = false;  // dropout belongs to a tape
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    const StepResult taped = run(schedule);
    Executor executor(*model_);
    State state = model_->new_state(batch_.batch);
    ExecutorOptions options = options_;
    options.gradients = false;
    EXPECT_EQ(run_language_model(executor, *model_, batch_, schedule, options, 1, state).sum, taped.loss);
    EXPECT_EQ(values_of(state), values_of(taped.state)) << name_of(schedule);
    EXPECT_TRUE(executor.saved_bytes().empty());
  }
}

TEST_P(Agreement, TwoRunsAreBitEqual) {
  for (const Schedule schedule : {Schedule::kDiagonal, Schedule::kStreaming}) {
    const StepResult one = run(schedule), two = run(schedule);
    EXPECT_EQ(one.loss, two.loss);
    EXPECT_EQ(one.grads, two.grads);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schedules, Agreement,
    testing::Values(
        Case{.name = "ragged_ends", .lengths = {13, 7, 4}, .batch = 3},
        Case{.name = "one_segment", .lengths = {5, 3}, .batch = 2},
        Case{.name = "fewer_segments_than_layers", .lengths = {9, 8}, .batch = 2, .layers = 5},
        Case{.name = "one_layer", .lengths = {9, 23}, .batch = 2, .layers = 1},
        Case{.name = "long_sequence", .lengths = {61}},
        Case{.name = "several_rounds", .lengths = {13, 7, 4, 22, 1, 0, 9}, .batch = 2},
        Case{.name = "many_short_rounds", .lengths = {3, 5, 2, 6, 4}, .layers = 4},
        Case{.name = "cut_every_segment", .lengths = {22, 14, 9}, .batch = 2, .k2 = 1},
        Case{.name = "cut_every_second", .lengths = {28, 14, 21}, .batch = 2, .k2 = 2},
        Case{.name = "dropout", .lengths = {13, 7, 9, 4}, .batch = 2, .dropout = 0.3},
        Case{.name = "dropout_and_cuts", .lengths = {23, 17}, .batch = 2, .k2 = 2, .dropout = 0.5},
        Case{.name = "gpt2", .lengths = {13, 7, 4}, .batch = 3, .type = "gpt2"},
        Case{.name = "gpt2_dropout", .lengths = {13, 7, 4}, .batch = 2, .dropout = 0.2, .type = "gpt2"},
        Case{.name = "aligned_right", .lengths = {13, 7, 4}, .batch = 3, .alignment = SegmentAlignment::kRight},
        Case{.name = "centered", .lengths = {13, 7, 4}, .batch = 3, .alignment = SegmentAlignment::kCenter},
        Case{.name = "hybrid", .lengths = {13, 7, 4}, .batch = 2, .layers = 4, .type = "hybrid"},
        Case{.name = "hybrid_dropout_and_cuts",
             .lengths = {23, 17, 9},
             .batch = 2,
             .layers = 5,
             .k2 = 2,
             .dropout = 0.3,
             .type = "hybrid"},
        Case{.name = "plain_hybrid",
             .lengths = {13, 7, 4},
             .batch = 2,
             .layers = 4,
             .type = "hybrid",
             .with_memory = false},
        Case{.name = "mamba2", .lengths = {13, 7, 4, 22, 1}, .batch = 2, .type = "mamba2", .with_memory = false},
        Case{.name = "mamba2_dropout_and_cuts",
             .lengths = {23, 17, 9},
             .batch = 2,
             .k2 = 2,
             .dropout = 0.3,
             .type = "mamba2",
             .with_memory = false},
        Case{.name = "mamba2_in_armt", .lengths = {13, 7, 4}, .batch = 2, .type = "mamba2"},
        Case{.name = "bamba",
             .lengths = {13, 7, 4, 22, 1},
             .batch = 2,
             .layers = 4,
             .type = "bamba",
             .with_memory = false},
        Case{.name = "bamba_cuts",
             .lengths = {23, 17, 9, 12},
             .batch = 2,
             .layers = 4,
             .k2 = 2,
             .dropout = 0.3,
             .type = "bamba",
             .with_memory = false},
        Case{.name = "bamba_in_armt", .lengths = {13, 7, 4}, .batch = 2, .layers = 4, .type = "bamba"},
        Case{.name = "mixed", .lengths = {13, 27, 4}, .batch = 2, .layers = 5, .type = "mixed", .with_memory = false},
        Case{.name = "mixed_in_armt", .lengths = {13, 27, 4}, .batch = 2, .layers = 5, .k2 = 1, .type = "mixed"},
        Case{.name = "plain_llama", .lengths = {13, 7, 4}, .batch = 2, .with_memory = false},
        Case{.name = "plain_gpt2", .lengths = {13, 7, 4}, .batch = 2, .type = "gpt2", .with_memory = false}),
    [](const testing::TestParamInfo<Case>& given) { return given.param.name; });

TEST(Dropout, ChangesTheResultAndFollowsItsKey) {
  ModelConfig config = tiny_config("llama", 3);
  config.dropout = 0.3;
  const std::unique_ptr<Model> model = tiny_model(config);
  const TokenBatch batch = random_batch({13, 7}, 2, config.vocab_size);
  const auto loss = [&](bool training, std::uint64_t seed, std::uint64_t step) {
    ExecutorOptions options;
    options.gradients = options.training = training;
    options.dropout = {seed, step, 0};
    Executor executor(*model);
    State state = model->new_state(2);
    return run_language_model(executor, *model, batch, Schedule::kDiagonal, options, 1, state).sum;
  };
  EXPECT_EQ(loss(true, 1, 1), loss(true, 1, 1));
  EXPECT_NE(loss(true, 1, 1), loss(false, 1, 1));
  EXPECT_NE(loss(true, 1, 1), loss(true, 2, 1));
  EXPECT_NE(loss(true, 1, 1), loss(true, 1, 2));
  EXPECT_EQ(loss(false, 1, 1), loss(false, 2, 2));
}

}  // namespace
}  // namespace wt
