// Whole models on a GPU against the CPU in f32: both recurrent memories, adapters, and decoding past a segment's end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "schedulers/decoder.h"
#include "schedulers/reading.h"
#include "tests/schedulers/support.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

// Weights of about one over the root of the width: with larger ones a memory is chaotic, and any rounding grows from
// segment to segment.
constexpr double kScale = 0.18;

enum class Kind { kArmt, kRmt, kAdapters, kPlain };

struct Case {
  std::string_view type;
  Kind kind;
};

ModelConfig config_of(const Case& c) {
  ModelConfig config = tiny_config(c.type, 3);
  config.hidden_size = 32;
  if (config.feed_forward.kind != FeedForwardConfig::Kind::kNone) config.feed_forward.intermediate_size = 40;
  config.max_positions = 64;
  if (c.kind == Kind::kRmt) {
    config.armt.reset();
    config.rmt = {.segment_size = 5, .num_mem_tokens = 3};
  }
  for (KindConfig& kind : config.kinds) {
    if (auto* mamba = std::get_if<Mamba2Config>(&kind.mixer)) mamba->head_dim = 16;  // twice the width in four heads
  }
  if (c.kind == Kind::kPlain) config = without_memory(config);
  if (c.kind == Kind::kAdapters) {
    config.lora = {.rank = 4, .alpha = 6, .dropout = 0, .targets = {"c_attn", "mlp.c_proj"}};
    if (c.type != "gpt2") config.lora->targets = {"q_proj", "v_proj", "o_proj", "up_proj", "down_proj"};
    if (c.type == "mamba2") config.lora->targets = {"in_proj", "out_proj"};
  }
  return config;
}

double error_of(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(norm), 1e-3);
}

class GpuModels : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Model> cpu_ = tiny_model(config_of(GetParam()), DType::kF32, 1, {}, kScale);
  std::unique_ptr<Model> gpu_ = tiny_model(config_of(GetParam()), DType::kF32, 1, gpu(), kScale);
};

TEST_P(GpuModels, LossAndGradientsAgree) {
  const TokenBatch batch = random_batch({13, 7, 19, 4}, 2, 11);
  ExecutorOptions options;
  options.gradients = true;
  std::vector<Schedule> schedules{Schedule::kSequential};
  if (GetParam().kind != Kind::kRmt) schedules.push_back(Schedule::kDiagonal);
  for (const Schedule schedule : schedules) {
    for (const Activations activations : {Activations::kKeep, Activations::kRecompute}) {
      options.activations = activations;
      const StepResult want = run_step(*cpu_, batch, schedule, options),
                       got = run_step(*gpu_, batch, schedule, options);
      EXPECT_NEAR(got.loss, want.loss, kGoldenLogitsF32 * want.loss);
      ASSERT_EQ(got.grads.size(), want.grads.size());
      for (std::size_t i = 0; i < want.grads.size(); ++i) {
        EXPECT_EQ(got.grads[i].first, want.grads[i].first);
        ASSERT_EQ(got.grads[i].second.size(), want.grads[i].second.size()) << want.grads[i].first;
        EXPECT_LT(error_of(got.grads[i].second, want.grads[i].second), kGoldenGradientF32) << want.grads[i].first;
      }
      const NamedTensors state = got.state.published(), expected = want.state.published();
      ASSERT_EQ(state.size(), expected.size());
      for (std::size_t i = 0; i < state.size(); ++i) {
        EXPECT_LT(relative_error(state[i].second, expected[i].second), kGoldenLogitsF32) << state[i].first;
      }
    }
  }
}

TEST_P(GpuModels, DecodingAgreesAcrossSegmentEnds) {
  // Samples end their segments at different times; steps in between are one recording, made anew when there is first a
  // memory to read.
  const bool closes = cpu_->recurrent();
  const std::unique_ptr<Model> exact = tiny_model(config_of(GetParam()), DType::kF64, 1, {}, kScale);
  Decoder want(*exact, exact->new_state(2), {0, 0}, 40), cpu(*cpu_, cpu_->new_state(2), {0, 0}, 40);
  Decoder got(*gpu_, gpu_->new_state(2), {0, 0}, 40);
  RandomStream random(3, random_stream(RandomPurpose::kTest, 9));
  const auto token = [&] { return static_cast<std::int32_t>(random.below(11)); };
  int closed = 0;
  for (int step = 0; step < 24; ++step) {
    std::vector<std::vector<std::int32_t>> tokens{{token()}, {token()}};
    if (step == 0) tokens[1].push_back(token());
    if (step % 7 == 6) tokens[0].clear();
    if (closes) {
      const std::vector<bool> full{want.length(0) == 5, want.length(1) == 5};
      closed += (full[0] ? 1 : 0) + (full[1] ? 1 : 0);
      for (Decoder* decoder : {&want, &cpu, &got}) decoder->close(full);
    }
    // About as far from double as the CPU's float32: the memory of a random model carries rounding on, so that the
    // golden files' bound is doubled.
    const Tensor exactly = want.append(tokens);
    const double rounding = relative_error(cpu.append(tokens), exactly);
    ASSERT_LT(rounding, 1e-3) << "step " << step;
    ASSERT_LT(relative_error(got.append(tokens), exactly), std::max(2 * kGoldenLogitsF32, 8 * rounding))
        << "step " << step;
  }
  EXPECT_EQ(closed, closes ? 8 : 0);
}

TEST_P(GpuModels, ReadingOnAgrees) {
  // The memory of a random model carries rounding on, so the measure is how far the CPU's float32 is from double.
  const Schedule schedule = GetParam().kind == Kind::kRmt ? Schedule::kSequential : Schedule::kDiagonal;
  const std::unique_ptr<Model> exact = tiny_model(config_of(GetParam()), DType::kF64, 1, {}, kScale);
  const TokenBatch batch = random_batch({27, 16}, 2, 11), more = random_batch({3, 11}, 2, 11, 7);
  Reading want = new_reading(*exact, 2), cpu = new_reading(*cpu_, 2), got = new_reading(*gpu_, 2);
  for (const TokenBatch* part : {&batch, &more}) {
    read_on(*exact, part->sequences, schedule, want);
    read_on(*cpu_, part->sequences, schedule, cpu);
    read_on(*gpu_, part->sequences, schedule, got);
    EXPECT_EQ(got.open, want.open);
    EXPECT_EQ(got.closed, want.closed);
    const NamedTensors exactly = want.memory.published(), on_cpu = cpu.memory.published(),
                       on_gpu = got.memory.published();
    ASSERT_EQ(on_gpu.size(), exactly.size());
    for (std::size_t i = 0; i < exactly.size(); ++i) {
      const double rounding = relative_error(on_cpu[i].second, exactly[i].second);
      EXPECT_LT(rounding, 1e-3);
      EXPECT_LT(relative_error(on_gpu[i].second, exactly[i].second), std::max(kGoldenLogitsF32, 8 * rounding));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, GpuModels,
    testing::Values(Case{"llama", Kind::kArmt}, Case{"llama", Kind::kRmt}, Case{"llama", Kind::kAdapters},
                    Case{"llama", Kind::kPlain}, Case{"hybrid", Kind::kArmt}, Case{"hybrid", Kind::kRmt},
                    Case{"hybrid", Kind::kPlain}, Case{"hybrid", Kind::kAdapters}, Case{"gpt2", Kind::kArmt},
                    Case{"gpt2", Kind::kRmt}, Case{"gpt2", Kind::kAdapters}, Case{"mamba2", Kind::kPlain},
                    Case{"mamba2", Kind::kArmt}, Case{"mamba2", Kind::kAdapters}, Case{"bamba", Kind::kPlain},
                    Case{"bamba", Kind::kArmt}, Case{"mixed", Kind::kPlain}, Case{"mixed", Kind::kArmt}));

// Long enough that waves are recorded and launched again, while the rows before them grow.
class GpuLongTexts : public testing::TestWithParam<Case> {};
TEST_P(GpuLongTexts, AreReadAsOnTheCpu) {
  const auto cpu = tiny_model(config_of(GetParam()), DType::kF32, 1, {}, kScale);
  const auto on_gpu = tiny_model(config_of(GetParam()), DType::kF32, 1, gpu(), kScale);
  const TokenSequences texts = random_batch({5 * 60 + 3, 5 * 41}, 2, 11).sequences;
  Reading want = new_reading(*cpu, 2), got = new_reading(*on_gpu, 2);
  for (const Schedule schedule : {Schedule::kDiagonal, Schedule::kStreaming}) {
    read_on(*cpu, texts, schedule, want);
    read_on(*on_gpu, texts, schedule, got);
    EXPECT_EQ(got.closed, want.closed);
    for (int q = 0; q < 2; ++q) {
      const std::int64_t rows = cpu->closed_rows(want.closed[static_cast<std::size_t>(q)]);
      const NamedTensors state = got.memory.published(q, rows), expected = want.memory.published(q, rows);
      ASSERT_EQ(state.size(), expected.size());
      for (std::size_t i = 0; i < state.size(); ++i) {
        EXPECT_LT(relative_error(state[i].second, expected[i].second), 10 * kGoldenLogitsF32) << state[i].first;
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, GpuLongTexts,
                         testing::Values(Case{"mamba2", Kind::kPlain}, Case{"bamba", Kind::kPlain},
                                         Case{"mixed", Kind::kPlain}));

}  // namespace
}  // namespace wt
