// RMT, a window and associative retrieval as configurations: what is read, refused, written back, drawn and generated.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/expect_error.h"
#include "train/eval/evaluate.h"
#include "train/eval/generate.h"
#include "train/models/model_config_json.h"
#include "train/run/curriculum.h"
#include "train/run/run_model.h"

namespace wt {
namespace {

Config retrieval(const std::string& memory, const std::vector<std::string>& overrides = {}) {
  return parse_config(
      cat("run: {dir: unused}\nmodel:\n  hidden_size: 16\n  num_layers: 2\n  num_heads: 2\n", memory,
          "data:\n  task: associative_retrieval\n  retrieval: {pairs_per_segment: 2}\n",
          "train:\n  batch_size: 4\n  validation_samples: 6\n  stages:\n", "    - {segments: [1, 3], steps: 10}\n"),
      "c.yaml", overrides);
}
const char* const kRmt = "  rmt: {segment_size: 12, num_mem_tokens: 2}\n";
const char* const kWindow = "  window: 16\n";

TEST(Baselines, RmtIsSequentialUnlessAnotherScheduleIsAskedFor) {
  const Config config = retrieval(kRmt);
  EXPECT_TRUE(config.model.rmt);
  EXPECT_EQ(config.train.wave_schedule, Schedule::kSequential);
  EXPECT_EQ(retrieval(kRmt, {"train.wave_schedule=sequential"}).train.wave_schedule, Schedule::kSequential);
  EXPECT_EQ(retrieval(kWindow).train.wave_schedule, Schedule::kDiagonal);
  EXPECT_ERROR(retrieval(kRmt, {"train.wave_schedule=diagonal"}), UsageError,
               "train.wave_schedule: is diagonal, but RMT runs one segment after another");
}

TEST(Baselines, ResolvedConfigurationReadsBackTheSame) {
  for (const char* memory : {kRmt, kWindow}) {
    const Config config = retrieval(memory, {"data.retrieval.rewrite=true", "data.retrieval.key_alphabet=xyz0"});
    const std::string yaml = config_yaml(config);
    const Config again = parse_config(yaml, "resolved.yaml");
    EXPECT_EQ(config_yaml(again), yaml);
    EXPECT_EQ(again.model, config.model);
    EXPECT_EQ(again.data.retrieval, config.data.retrieval);
    EXPECT_TRUE(again.data.retrieval.rewrite);
  }
}

TEST(Baselines, WhatDoesNotFitIsRefused) {
  const auto refused = [](const char* memory, const std::string& override, const std::string& message) {
    EXPECT_ERROR(retrieval(memory, {override}), UsageError, message);
  };
  refused(kRmt, "model.armt={segment_size: 8, num_mem_tokens: 2, d_mem: 4}", "choose one memory");
  refused(kRmt, "model.window=8", "model.window: is for a plain backbone");
  refused(kRmt, "data.books=none", "data.books: is for bAbI's tasks");
  refused(kRmt, "train.stages.0.max_facts=3", "max_facts: is for bAbI's tasks");
  EXPECT_ERROR(retrieval(kRmt, {"data.task=[qa1, associative_retrieval]", "data.books=none", "data.tokenizer=t.json"}),
               UsageError, "data.task: mixes associative_retrieval with others");
  refused(kRmt, "data.retrieval.key_alphabet=aa", "data.retrieval.key_alphabet: 'aa' has a twice");
  refused(kRmt, "eval.lengths=4k", "is '4k', expected pairs (50p) or a multiple (4x)");
  refused(kRmt, "eval.max_new_tokens=1", "an answer with its end has 2 tokens");
  refused(kRmt, "eval.tasks=qa1", "is 'qa1', but data.task is associative_retrieval");
  EXPECT_EQ(parse_eval_length("200p").amount, 200);
  EXPECT_TRUE(parse_eval_length("200p").is_pairs);
  for (const char* wrong : {"p", "0p", "2kp", "-3p"}) {
    EXPECT_ERROR(parse_eval_length(wrong), UsageError, "pairs (50p)");
  }
}

TEST(Baselines, ModelFoldersSayWhatTheyAre) {
  for (const char* memory : {kRmt, kWindow}) {
    ModelConfig model = retrieval(memory).model;
    model.vocab_size = 22;
    const ModelConfig read = parse_model_config(format_model_config(model, DType::kF32), "config.json");
    EXPECT_EQ(read.rmt, model.rmt);
    EXPECT_EQ(read.rmt, model.rmt);
    EXPECT_EQ(read.window, model.window);
    EXPECT_FALSE(read.armt);
  }
}

TEST(Baselines, CurriculumOfPairs) {
  const Config config = retrieval(kRmt), windowed = retrieval(kWindow);
  const Tokenizer tokenizer = load_tokenizer(config);
  const Curriculum curriculum(config, config.model, tokenizer, nullptr);
  const Curriculum last(windowed, windowed.model, tokenizer, nullptr);
  bool short_seen = false, long_seen = false;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const TokenBatch batch = curriculum.train_batch(0, i);
    ASSERT_EQ(batch.sequences.size(), 4u);
    // One or three segments of twelve tokens, then the question.
    const std::size_t size = batch.sequences[0].size();
    EXPECT_TRUE(size == 12 + 6 || size == 36 + 6) << size;
    (size == 18 ? short_seen : long_seen) = true;
    EXPECT_EQ(batch.num_targets(), 4 * 2);
    // The window reads the end of the same pairs, which follow one another there.
    const TokenBatch end = last.train_batch(0, i);
    EXPECT_EQ(end.sequences[0].size(), 16u);
    EXPECT_EQ(end.num_targets(), 4 * 2);
    EXPECT_TRUE(std::equal(end.sequences[0].end() - 6, end.sequences[0].end(), batch.sequences[0].end() - 6));
  }
  EXPECT_TRUE(short_seen && long_seen);
  EXPECT_EQ(curriculum.validation_batch(0, 1).sequences.size(), 2u);
  const auto test = [&](const char* length) { return make_test_retrieval(config.data, 1, config.model, length, 3); };
  EXPECT_EQ(test("50p").num_pairs(), 50);
  EXPECT_EQ(test("4x").num_pairs(), 4 * 3 * 2);
  EXPECT_ERROR(test("4k"), UsageError, "is measured in pairs (50p)");
}

TEST(Baselines, EvaluationByNumberOfPairs) {
  Config config = retrieval(kRmt);
  config.model.vocab_size = load_tokenizer(config).vocab_size();
  Model model(config.model, DType::kF32);
  model.parameters().initialize(1);
  const RetrievalSampler sampler = make_test_retrieval(config.data, 1, config.model, "7p", 1);
  EvalOptions options;
  options.batch_size = 3;
  options.max_new_tokens = 3;
  options.schedule = Schedule::kSequential;
  const EvalRow row = evaluate(model, sampler, 5, options);
  EXPECT_EQ(row.samples, 5);
  EXPECT_EQ(row.task, "associative_retrieval");
  EXPECT_FALSE(row.has_official);
  EXPECT_EQ(row.prompt_tokens, 5 * (4 * 12 + 4));
}

TEST(Baselines, AWindowReadsTheLastTokens) {
  ModelConfig config = retrieval(kWindow).model;
  config.vocab_size = 22;
  Model model(config, DType::kF64);
  model.parameters().initialize(3);
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 40; ++i) prompt.push_back(i * 7 % 22);
  GenerateOptions options;
  options.max_new_tokens = 24;
  const auto whole = generate(model, {prompt}, options);
  EXPECT_EQ(whole, generate(model, {std::vector<std::int32_t>(prompt.end() - 16, prompt.end())}, options));
  std::vector<std::int32_t> other = prompt;
  std::fill(other.begin(), other.end() - 16, 1);
  EXPECT_EQ(whole, generate(model, {other}, options));
  // The window moves with every token, however many are asked for and whatever stands beside the prompt.
  const std::vector<std::int32_t> brief(prompt.begin(), prompt.begin() + 9);
  const auto beside = generate(model, {brief, prompt}, options);
  for (const std::vector<std::int32_t>& text : {brief, prompt}) {
    const auto& got = beside[text == prompt ? 1 : 0];
    std::vector<std::int32_t> read = text;
    for (std::size_t step = 0; step < 24; ++step) {
      options.max_new_tokens = step % 3 == 0 ? 1 : 40;
      const std::size_t first = read.size() > 16 ? read.size() - 16 : 0;
      read.push_back(
          generate(model, {std::vector<std::int32_t>(read.begin() + static_cast<std::ptrdiff_t>(first), read.end())},
                   options)[0][0]);
      EXPECT_EQ(got[step], read.back()) << step;
    }
  }
  EXPECT_EQ(beside[1], whole[0]);
  TokenBatch batch;
  batch.batch = 1;
  batch.add(prompt, std::vector<std::uint8_t>(prompt.size(), 1));
  Executor executor(model);
  State state = model.new_state(1);
  EXPECT_ERROR(run_language_model(executor, model, batch, Schedule::kDiagonal, {}, 1, state), Error,
               "a segment has 40 tokens, the model reads at most 16");
}

}  // namespace
}  // namespace wt
