// The recurrent memory transformer: gradients against central differences of a second implementation
// (reference_armt.h), segment after segment, on every path that reads a model.
#include <gtest/gtest.h>

#include <algorithm>

#include "schedulers/decoder.h"
#include "tests/schedulers/reference_armt.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

constexpr double kRounding = 1e-11;

ModelConfig rmt_config(std::string_view type, SegmentAlignment alignment = SegmentAlignment::kLeft) {
  ModelConfig config = tiny_config(type);
  config.armt.reset();
  config.rmt.emplace();
  config.rmt = {.segment_size = 5, .num_mem_tokens = 3, .segment_alignment = alignment};
  config.max_positions = 12;
  return config;
}

// Three, two and one segments, with short ends.
TokenBatch ragged_batch() {
  return random_batch({13, 7, 4}, 3, 11);
}

ExecutorOptions with_gradients(int k2 = 0) {
  ExecutorOptions options;
  options.gradients = true;
  options.k2 = k2;
  return options;
}

struct Case {
  std::string_view type;
  int k2;
};
class Rmt : public testing::TestWithParam<Case> {};

TEST_P(Rmt, GradientsMatchDifferencesOfTheReference) {
  const auto [type, k2] = GetParam();
  const std::unique_ptr<Model> model = tiny_model(rmt_config(type));
  const TokenBatch batch = ragged_batch();
  ReferenceArmt reference(*model, k2);
  const double loss = reference.loss(batch);
  reference.freeze();
  ASSERT_DOUBLE_EQ(reference.loss(batch), loss);
  const StepResult step = run_step(*model, batch, Schedule::kSequential, with_gradients(k2));
  EXPECT_NEAR(step.loss, loss, kRounding * loss);
  std::size_t at = 0;
  std::int64_t compared = 0;
  for (const PublishedTensor& tensor : model->parameters().published()) {
    const auto& [name, grad] = step.grads[at++];
    for (std::int64_t i = 0; i < tensor.value.numel(); ++i, ++compared) {
      double& x = tensor.value.data<double>()[i];
      const double middle = x;
      const auto difference = [&](double h) {
        x = middle + h;
        const double up = reference.loss(batch);
        x = middle - h;
        const double down = reference.loss(batch);
        x = middle;
        return (up - down) / (2 * h);
      };
      const double analytic = grad[static_cast<std::size_t>(i)];
      double numeric = difference(kGradcheckStep);
      if (!(gradient_error(analytic, numeric) < kGradcheck / 2)) {
        numeric = (4 * difference(kGradcheckStep) - difference(2 * kGradcheckStep)) / 3;
      }
      EXPECT_LT(gradient_error(analytic, numeric), kGradcheck) << name << "[" << i << "]";
    }
  }
  EXPECT_EQ(compared, model->parameters().count());
}

INSTANTIATE_TEST_SUITE_P(Models, Rmt,
                         testing::Values(Case{"llama", 0}, Case{"gpt2", 0}, Case{"hybrid", 0}, Case{"llama", 1},
                                         Case{"gpt2", 2}),
                         [](const testing::TestParamInfo<Case>& given) {
                           return cat(given.param.type, "_k2_", given.param.k2);
                         });

TEST(RmtModel, ForwardMatchesTheReferenceHoweverSegmentsAreCut) {
  for (const auto alignment : {SegmentAlignment::kLeft, SegmentAlignment::kRight, SegmentAlignment::kCenter}) {
    const std::unique_ptr<Model> model = tiny_model(rmt_config("llama", alignment));
    ReferenceArmt reference(*model);
    const double loss = reference.loss(ragged_batch());
    Executor executor(*model);
    State state = model->new_state(3);
    EXPECT_NEAR(run_language_model(executor, *model, ragged_batch(), Schedule::kSequential, {}, 1, state).sum, loss,
                kRounding * loss);
  }
}

TEST(RmtModel, RecomputedActivationsGiveTheSameGradients) {
  for (const std::string_view type : {"llama", "gpt2"}) {
    const std::unique_ptr<Model> model = tiny_model(rmt_config(type));
    ExecutorOptions options = with_gradients();
    const StepResult kept = run_step(*model, ragged_batch(), Schedule::kSequential, options);
    options.activations = Activations::kRecompute;
    EXPECT_EQ(run_step(*model, ragged_batch(), Schedule::kSequential, options).grads, kept.grads);
  }
}

TEST(RmtModel, RoundsOfSequencesAreSequencesAlone) {
  const std::unique_ptr<Model> model = tiny_model(rmt_config("llama"));
  const TokenBatch all = random_batch({13, 7, 4, 11, 16}, 2, 11);
  const StepResult together = run_step(*model, all, Schedule::kSequential, with_gradients());
  double loss = 0;
  std::vector<std::vector<double>> sums;
  for (std::size_t q = 0; q < all.sequences.size(); ++q) {
    TokenBatch one;
    one.batch = 1;
    one.sequences = {all.sequences[q]};
    for (Target target : all.targets) {
      if (target.sequence != static_cast<std::int32_t>(q)) continue;
      target.sequence = 0;
      one.targets.push_back(target);
    }
    const StepResult step = run_step(*model, one, Schedule::kSequential, with_gradients());
    loss += step.loss;
    sums.resize(step.grads.size());
    for (std::size_t p = 0; p < step.grads.size(); ++p) {
      sums[p].resize(step.grads[p].second.size());
      for (std::size_t i = 0; i < sums[p].size(); ++i) sums[p][i] += step.grads[p].second[i];
    }
  }
  EXPECT_NEAR(together.loss, loss, kRounding * loss);
  for (std::size_t p = 0; p < sums.size(); ++p) {
    for (std::size_t i = 0; i < sums[p].size(); ++i) {
      EXPECT_LT(gradient_error(together.grads[p].second[i], sums[p][i]), kRounding) << together.grads[p].first;
    }
  }
}

TEST(RmtModel, RunsOnTheSequentialScheduleOnly) {
  const std::unique_ptr<Model> model = tiny_model(rmt_config("llama"));
  for (const Schedule schedule : {Schedule::kDiagonal, Schedule::kStreaming}) {
    for (const bool gradients : {false, true}) {
      Executor executor(*model);
      State state = model->new_state(3);
      ExecutorOptions options;
      options.gradients = gradients;
      EXPECT_ERROR(run_language_model(executor, *model, ragged_batch(), schedule, options, 1, state), UsageError,
                   "segment s+1 starts from what the last layer made of segment s");
    }
  }
  EXPECT_EQ(choose_schedule("auto", true), Schedule::kSequential);
  EXPECT_EQ(choose_schedule("auto", false), Schedule::kDiagonal);
  EXPECT_ERROR(choose_schedule("diagonal", true), UsageError, "expected sequential");
}

TEST(RmtModel, DecodingPastSegmentEndsIsReadingFromTheStart) {
  for (const std::string_view type : {"llama", "gpt2"}) {
    const std::unique_ptr<Model> model = tiny_model(rmt_config(type));
    // The second sample is two tokens ahead, so that segments end at different times.
    const TokenBatch batch = random_batch({17, 19}, 2, 11);
    Decoder decoder(*model, model->new_state(2), {0, 0}, 5 + model->config().num_mem_tokens());
    Executor executor(*model);
    int closed = 0;
    for (std::size_t step = 0; step < 17; ++step) {
      const std::vector<bool> full{decoder.length(0) == 5, decoder.length(1) == 5};
      closed += (full[0] ? 1 : 0) + (full[1] ? 1 : 0);
      decoder.close(full);
      std::vector<std::vector<std::int32_t>> next{{batch.sequences[0][step]}, {batch.sequences[1][step + 2]}};
      if (step == 0) next[1].assign(batch.sequences[1].begin(), batch.sequences[1].begin() + 3);
      const Tensor hidden = decoder.append(next);
      for (std::size_t q = 0; q < 2; ++q) {
        const auto n = static_cast<std::int64_t>(step + 1 + 2 * q);
        const std::vector<std::int32_t> ids(batch.sequences[q].begin(), batch.sequences[q].begin() + n);
        State fresh = model->new_state(1);
        const auto expected = executor.forward(Work(*model, {ids}, 1, Schedule::kSequential, {{0, n - 1}}), fresh, {})
                                  .to_vector<double>();
        const auto got = hidden.select(static_cast<std::int64_t>(q)).to_vector<double>();
        for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], kRounding) << step << " " << q;
      }
    }
    EXPECT_EQ(closed, 6);
  }
}

TEST(RmtModel, TheOpenSegmentContinuesTheClosedOnes) {
  for (const std::string_view type : {"llama", "gpt2"}) {
    const std::unique_ptr<Model> model = tiny_model(rmt_config(type));
    const TokenBatch batch = random_batch({14, 9, 4}, 3, 11);
    std::vector<std::vector<std::int32_t>> closed, open;
    std::vector<std::int64_t> past;
    for (const auto& ids : batch.sequences) {
      const auto end = static_cast<std::ptrdiff_t>((ids.size() - 1) / 5 * 5);
      closed.emplace_back(ids.begin(), ids.begin() + end);
      open.emplace_back(ids.begin() + end, ids.end());
      past.push_back(model->closed_rows(end));
    }
    Executor executor(*model);
    State state = model->new_state(3);
    executor.forward(Work(*model, closed, 3, Schedule::kSequential), state, {});
    Decoder decoder(*model, state, past, 6);
    EXPECT_EQ(decoder.capacity(), 6);
    const Tensor last = decoder.append(open);
    for (std::size_t q = 0; q < 3; ++q) {
      const auto& ids = batch.sequences[q];
      const auto n = static_cast<std::int64_t>(ids.size());
      EXPECT_EQ(decoder.length(static_cast<int>(q)), static_cast<std::int64_t>(open[q].size()));
      State fresh = model->new_state(1);
      // Causality: rows written to after the tokens do not change them.
      const auto expected =
          executor.forward(Work(*model, {ids}, 1, Schedule::kSequential, {{0, n - 1}}), fresh, {}).to_vector<double>();
      const auto got = last.select(static_cast<std::int64_t>(q)).to_vector<double>();
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], kRounding);
    }
  }
}

TEST(RmtModel, PublishedNames) {
  const Model model(rmt_config("gpt2"), DType::kF32);
  std::vector<std::string> names;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    names.push_back(tensor.name);
    // The table of positions is the backbone's own: memory rows take places of it.
    if (tensor.name.ends_with("wpe.weight")) {
      EXPECT_EQ(tensor.value.shape(), (Shape{12, 8}));
    }
  }
  const auto has = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  EXPECT_TRUE(has("memory_cell.memory"));
  EXPECT_TRUE(has("memory_cell.model.transformer.wte.weight"));
  EXPECT_TRUE(has("memory_cell.model.transformer.h.1.attn.c_attn.weight"));
  EXPECT_EQ(model.max_segment_tokens(), 12 - 2 * 3);
}

}  // namespace
}  // namespace wt
