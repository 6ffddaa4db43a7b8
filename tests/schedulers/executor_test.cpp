// The executor's promises beside the numbers: memory, errors, states that go on, odd batches.
#include "schedulers/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/memory.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

constexpr std::array kSchedules{Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming};

TokenPlace last_place(const TokenBatch& batch, int q) {
  return {q, static_cast<std::int64_t>(batch.sequences[static_cast<std::size_t>(q)].size()) - 1};
}

// Bytes in use at once, at the most, by a forward over this many segments.
std::uint64_t peak_of(const Model& model, Schedule schedule, std::int64_t segments, ExecutorOptions options = {}) {
  const std::int64_t n = model.config().armt->segment_size;
  const TokenBatch batch = random_batch({segments * n, segments * n - 3}, 2, model.config().vocab_size);
  const Work work(model, batch.sequences, 2, schedule, {last_place(batch, 0), last_place(batch, 1)});
  State state = model.new_state(2);
  Executor executor(model);
  reset_peak(Device{});
  const std::uint64_t before = memory_use(Device{}).current;
  executor.forward(work, state, options);
  return memory_use(Device{}).peak - before;
}

TEST(ExecutorMemory, DoesNotGrowWithTheSegmentsWithoutATape) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  for (const Schedule schedule : kSchedules) {
    peak_of(*model, schedule, 4);  // the model's rotary table is made on first use
    const std::uint64_t few = peak_of(*model, schedule, 4);
    EXPECT_GT(few, 0u);
    EXPECT_EQ(peak_of(*model, schedule, 400), few) << name_of(schedule);
  }
}

TEST(ExecutorMemory, GrowsWithATapeAndLessWhenRecomputing) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  for (const Schedule schedule : kSchedules) {
    ExecutorOptions options;
    options.gradients = true;
    const std::uint64_t kept = peak_of(*model, schedule, 40, options);
    options.activations = Activations::kRecompute;
    const std::uint64_t again = peak_of(*model, schedule, 40, options);
    EXPECT_GT(kept, 3 * peak_of(*model, schedule, 40)) << name_of(schedule);
    EXPECT_LT(again, kept / 2) << name_of(schedule);
  }
}

TEST(ExecutorMemory, BackwardGivesEverythingBack) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("gpt2", 3));
  const TokenBatch batch = random_batch({13, 7}, 2, 11);
  ExecutorOptions options;
  options.gradients = true;
  model->parameters().zero_grad();
  State state = model->new_state(2);
  Executor executor(*model);
  run_language_model(executor, *model, batch, Schedule::kDiagonal, options, 1, state);
  const std::uint64_t after_one = memory_use(Device{}).current;
  run_language_model(executor, *model, batch, Schedule::kDiagonal, options, 1, state);
  EXPECT_EQ(memory_use(Device{}).current, after_one);
}

TEST(Executor, SavedBytesOfEachWave) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  const TokenBatch batch = random_batch({23}, 1, 11);
  ExecutorOptions options;
  options.gradients = true;
  options.activations = Activations::kRecompute;
  Executor executor(*model);
  State state = model->new_state(1);
  run_language_model(executor, *model, batch, Schedule::kDiagonal, options, 1, state);
  // Input (G, 1, 8, 8) and state (G, 1, 36, 8) and (G, 1, 36) of waves of 1, 2, 3, 3, 3, 2, 1 layers.
  std::vector<std::uint64_t> expected;
  for (const std::uint64_t g : {1, 2, 3, 3, 3, 2, 1}) expected.push_back(g * 8 * (8 * 8 + 36 * 8 + 36));
  EXPECT_EQ(executor.saved_bytes(), expected);
}

TEST(Executor, ErrorsSayWhichWave) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  TokenBatch batch = random_batch({23}, 1, 11);
  batch.sequences[0][12] = 11;  // in the third segment
  Executor executor(*model);
  State state = model->new_state(1);
  EXPECT_ERROR(run_language_model(executor, *model, batch, Schedule::kDiagonal, {}, 1, state), Error,
               "embedding: token id 11 is not in the vocabulary of 11; wave 2, layers [0,3)");
  EXPECT_ERROR(run_language_model(executor, *model, batch, Schedule::kSequential, {}, 1, state), Error,
               "wave 6, layers [0,1)");
  // Negative ids mean padding and memory rows inside; from outside they are mistakes.
  for (const std::int32_t id : {-1, -2}) {
    batch.sequences[0][12] = id;
    EXPECT_ERROR(run_language_model(executor, *model, batch, Schedule::kDiagonal, {}, 1, state), Error,
                 cat("token id ", id, " is not in the vocabulary of 11"));
  }
}

TEST(Executor, ArgumentsThatDoNotFit) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  const TokenBatch batch = random_batch({13, 7}, 2, 11);
  State state = model->new_state(2);
  Executor executor(*model);
  Work work(*model, batch.sequences, 2, Schedule::kDiagonal);
  const Plan plan = work.plan;
  const auto forward = [&](const Plan& p, const std::vector<TokenPlace>& places) {
    work.plan = p;
    work.places = places;
    executor.forward(work, state, {});
  };
  EXPECT_ERROR(forward(diagonal_plan(2, {3}), {}), Error, "the plan is for 2 layers and 3 segments, the model has 3");
  EXPECT_ERROR(forward(diagonal_plan(3, {4}), {}), Error, "3 layers and 4 segments");
  Plan broken = plan;
  broken.waves.pop_back();
  EXPECT_ERROR(forward(broken, {}), Error, "plan: layer 2 runs 2 of 3 items");
  EXPECT_ERROR(forward(plan, {{0, 12}, {1, 7}, {0, 13}}), Error, "2 of 3 chosen places lie in no segment");
  EXPECT_ERROR(forward(plan, {{0, 3}, {1, 3}, {0, 2}, {0, 3}}), Error, "token 3 of sequence 0 is chosen twice");
  EXPECT_ERROR(forward(plan, {{2, 0}}), Error, "1 of 1 chosen places");
  EXPECT_ERROR(forward(plan, {{0, -1}}), Error, "1 of 1 chosen places");
  EXPECT_ERROR(forward(plan, {{-1, 0}}), Error, "place 0 names sequence -1");
  EXPECT_ERROR(executor.backward(Tensor::zeros(Stream{}, {0, 8}, DType::kF64)), Error,
               "without a forward that kept a tape");

  ExecutorOptions options;
  options.gradients = true;
  const Tensor hidden =
      executor.forward(Work(*model, batch.sequences, 2, Schedule::kDiagonal, {{0, 3}}), state, options);
  executor.backward(hidden);
  EXPECT_ERROR(executor.backward(hidden), Error, "without a forward that kept a tape");
}

TEST(Executor, SegmentsLongerThanThePositionTable) {
  ModelConfig config = tiny_config("gpt2");
  config.armt.reset();
  const std::unique_ptr<Model> model = tiny_model(config);
  Executor executor(*model);
  State state = model->new_state(1);
  EXPECT_ERROR(run_language_model(executor, *model, random_batch({7}, 1, 11), Schedule::kDiagonal, {}, 1, state), Error,
               "a segment has 7 tokens, the model reads at most 6");
  EXPECT_NO_THROW(run_language_model(executor, *model, random_batch({6}, 1, 11), Schedule::kDiagonal, {}, 1, state));
}

TEST(Executor, SmallestDenominatorIsInfiniteWithoutReads) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  Executor executor(*model);
  EXPECT_EQ(executor.min_denominator(), std::numeric_limits<double>::infinity());
  State state = model->new_state(1);
  run_language_model(executor, *model, random_batch({5}, 1, 11), Schedule::kDiagonal, {}, 1, state);
  EXPECT_EQ(executor.min_denominator(), std::numeric_limits<double>::infinity());
  run_language_model(executor, *model, random_batch({6}, 1, 11), Schedule::kDiagonal, {}, 1, state);
  EXPECT_LT(executor.min_denominator(), 1e3);
  EXPECT_GT(executor.min_denominator(), 1e-5);
}

TEST(Executor, StateOfAFinishedSampleStays) {
  // The second sample ends after one segment: its memory is what a run of its own leaves.
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  const TokenBatch both = random_batch({23, 4}, 2, 11);
  TokenBatch alone;
  alone.batch = 1;
  alone.add(both.sequences[1], {1, 1, 0, 1});
  Executor executor(*model);
  State two = model->new_state(2), one = model->new_state(1);
  run_language_model(executor, *model, both, Schedule::kDiagonal, {}, 1, two);
  run_language_model(executor, *model, alone, Schedule::kDiagonal, {}, 1, one);
  for (int l = 0; l < 3; ++l) {
    const auto kept = two[0].select(l).select(1).to_vector<double>(),
               expected = one[0].select(l).select(0).to_vector<double>();
    for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_NEAR(kept[i], expected[i], kSchedulesAgreeF64);
  }
}

TEST(Executor, EverySequenceStartsFromAnEmptyMemory) {
  // Whatever the state held before, and whichever sequence ran in the sample before.
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  const TokenBatch batch = random_batch({13}, 1, 11);
  Executor executor(*model);
  for (const Schedule schedule : kSchedules) {
    State fresh = model->new_state(1), used = model->new_state(1);
    const double loss = run_language_model(executor, *model, batch, schedule, {}, 1, fresh).sum;
    run_language_model(executor, *model, random_batch({27}, 1, 11, 9), schedule, {}, 1, used);
    EXPECT_EQ(run_language_model(executor, *model, batch, schedule, {}, 1, used).sum, loss);
    EXPECT_EQ(used[0].to_vector<double>(), fresh[0].to_vector<double>());
    EXPECT_EQ(used[1].to_vector<double>(), fresh[1].to_vector<double>());
  }
}

TEST(LanguageModel, CountsTargetsAndRightOnes) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 2));
  const TokenBatch batch = random_batch({13, 7, 1, 0}, 2, 11);
  EXPECT_EQ(batch.num_tokens(), 21);
  // The last token of a sequence predicts nothing, whatever its mask says.
  EXPECT_EQ(batch.num_targets(), 9 + 5);
  Executor executor(*model);
  State state = model->new_state(2);
  const LossResult result = run_language_model(executor, *model, batch, Schedule::kStreaming, {}, 1, state);
  EXPECT_EQ(result.targets, 14);
  EXPECT_EQ(result.correct_by_target.size(), 14u);
  EXPECT_EQ(result.correct, std::count(result.correct_by_target.begin(), result.correct_by_target.end(), 1));
  EXPECT_DOUBLE_EQ(result.mean(), result.sum / 14);
  EXPECT_DOUBLE_EQ(std::accumulate(result.loss_by_target.begin(), result.loss_by_target.end(), 0.0), result.sum);
}

// A target's weight counts in the loss and in the gradient; targets may stand anywhere, in any order.
TEST(LanguageModel, WeightsOfTargets) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 2));
  ExecutorOptions options;
  options.gradients = true;
  const TokenBatch plain = random_batch({13, 7}, 2, 11);
  TokenBatch halves = plain, twice = plain;
  std::reverse(halves.targets.begin(), halves.targets.end());
  for (Target& target : halves.targets) target.weight = 0.5;
  for (Target& target : twice.targets) target.weight = target.sequence == 0 ? 1 : 0;
  const StepResult whole = run_step(*model, plain, Schedule::kDiagonal, options);
  const StepResult half = run_step(*model, halves, Schedule::kDiagonal, options);
  EXPECT_NEAR(half.loss, whole.loss / 2, 1e-12 * whole.loss);
  for (std::size_t i = 0; i < whole.grads.size(); ++i) {
    for (std::size_t j = 0; j < whole.grads[i].second.size(); ++j) {
      ASSERT_NEAR(half.grads[i].second[j], whole.grads[i].second[j] / 2, 1e-10) << whole.grads[i].first;
    }
  }
  TokenBatch first = plain;
  std::erase_if(first.targets, [](const Target& target) { return target.sequence != 0; });
  EXPECT_EQ(run_step(*model, twice, Schedule::kDiagonal, options).loss,
            run_step(*model, first, Schedule::kDiagonal, options).loss);
  Executor executor(*model);
  State state = model->new_state(2);
  const LossResult result = run_language_model(executor, *model, halves, Schedule::kDiagonal, {}, 1, state);
  EXPECT_DOUBLE_EQ(result.weight, 7);
  EXPECT_DOUBLE_EQ(result.mean(), result.sum / 7);
  // A target that is no next token: any id, at any place.
  TokenBatch masked = plain;
  masked.targets = {{1, 0, 4, 0.25}, {0, 12, 3, 1}};
  EXPECT_GT(run_step(*model, masked, Schedule::kDiagonal, options).loss, 0);
  masked.targets = {{0, 12, 11, 1}};
  EXPECT_ERROR(run_step(*model, masked, Schedule::kDiagonal, options), Error,
               "target 11 of token 12 in sequence 0 is not in the vocabulary of 11");
}

TEST(LanguageModel, BatchesBehindBatches) {
  TokenBatch both = random_batch({5, 4}, 2, 11);
  const TokenBatch more = random_batch({6}, 2, 11, 8);
  const std::size_t targets = both.targets.size();
  both.append(more);
  EXPECT_EQ(both.sequences.size(), 3u);
  EXPECT_EQ(both.sequences[2], more.sequences[0]);
  ASSERT_EQ(both.targets.size(), targets + more.targets.size());
  EXPECT_EQ(both.targets[targets].sequence, 2);
  EXPECT_EQ(both.targets[targets].id, more.targets[0].id);
}

TEST(LanguageModel, BatchesWithoutTargetsOrTokens) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 2));
  Executor executor(*model);
  State state = model->new_state(1);
  ExecutorOptions options;
  options.gradients = true;
  for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{}, {0}, {1}, {6}}) {
    TokenBatch batch = random_batch(lengths, 1, 11);
    batch.targets.clear();
    model->parameters().zero_grad();
    const LossResult result = run_language_model(executor, *model, batch, Schedule::kDiagonal, options, 1, state);
    EXPECT_EQ(result.targets, 0);
    EXPECT_EQ(result.mean(), 0);
    for (const PublishedTensor& tensor : model->parameters().published()) {
      for (const double value : tensor.grad.to_vector<double>()) ASSERT_EQ(value, 0) << tensor.name;
    }
  }
}

TEST(LanguageModel, MasksThatDoNotFit) {
  TokenBatch batch = random_batch({6}, 1, 11);
  EXPECT_ERROR(batch.add({1, 2, 3, 4}, {1, 1, 1}), Error, "sequence 1 has 4 tokens and a mask of 3");
}

TEST(LanguageModel, SinglePrecisionFollowsDouble) {
  const ModelConfig config = tiny_config("llama", 3);
  const TokenBatch batch = random_batch({13, 7, 4}, 3, config.vocab_size);
  ExecutorOptions options;
  options.gradients = true;
  const StepResult exact = run_step(*tiny_model(config), batch, Schedule::kDiagonal, options);
  const StepResult single = run_step(*tiny_model(config, DType::kF32), batch, Schedule::kDiagonal, options);
  EXPECT_NEAR(single.loss / exact.loss, 1, kGoldenLogitsF32);
  for (std::size_t i = 0; i < exact.grads.size(); ++i) {
    double difference = 0, norm = 0;
    for (std::size_t j = 0; j < exact.grads[i].second.size(); ++j) {
      difference += std::pow(single.grads[i].second[j] - exact.grads[i].second[j], 2);
      norm += std::pow(exact.grads[i].second[j], 2);
    }
    EXPECT_LT(std::sqrt(difference / norm), kGoldenGradientF32) << exact.grads[i].first;
  }
}

}  // namespace
}  // namespace wt
