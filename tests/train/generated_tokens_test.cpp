// What a prompt's tokens may not depend on: how many are asked for, what stands beside the prompt, where it was cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/schedulers/support.h"
#include "tests/support/temp_folder.h"
#include "train/eval/generate.h"
#include "train/models/model_io.h"
#include "train/models/state_file.h"

namespace wt {
namespace {

GenerateOptions greedy(std::int64_t tokens) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  return options;
}

// Ids that transformers 5.24 generates greedily, each prompt alone: the last of them reach far beyond the 16 positions
// that the model was trained on, whose rotary frequencies follow the rows read so far.
const TokenSequences kDynamicPrompts{
    {23, 17, 11, 6, 16, 13, 1, 16},
    {12, 28, 17, 11, 22, 27, 37, 20},
    {5, 9, 30, 2, 7},
    {3, 10, 17, 24, 31, 38, 5, 12, 19, 26, 33, 0, 7, 14, 21, 28, 35, 2, 9, 16, 23, 30, 37, 4, 11, 18, 25, 32, 39, 6}};
const TokenSequences kDynamicWanted{{27, 27, 38, 29, 31, 35, 38, 18, 38, 35, 18, 38, 18, 38, 27, 16, 10, 18, 38, 18,
                                     38, 27, 8,  18, 38, 18, 38, 8,  25, 25, 18, 38, 18, 32, 18, 25, 25, 18, 38, 8},
                                    {25, 18, 1,  23, 27, 29, 27, 23, 27, 0,  35, 3,  27, 6, 27, 35, 32, 27, 32, 18,
                                     25, 6,  39, 15, 1,  18, 38, 27, 0,  35, 3,  15, 20, 2, 32, 35, 3,  3,  15, 20},
                                    {8,  32, 8,  8,  8,  15, 16, 25, 32, 35, 37, 29, 32, 32, 32, 35, 29, 32, 32, 32,
                                     32, 32, 38, 18, 32, 32, 32, 18, 32, 31, 8,  32, 32, 32, 8,  3,  15, 32, 32, 32},
                                    {20, 10, 3,  3,  3, 25, 25, 6, 27, 37, 6,  0, 31, 27, 0,  18, 32, 35, 23, 27,
                                     0,  18, 32, 35, 0, 31, 27, 0, 31, 0,  10, 3, 27, 0,  18, 32, 35, 0,  31, 27}};

std::unique_ptr<Model> dynamic_model() {
  return load_model(find_model(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/reports/rope_dynamic"), DType::kF64,
                    {});
}

std::vector<std::int32_t> start_of(const std::vector<std::int32_t>& ids, std::int64_t count) {
  return {ids.begin(), ids.begin() + count};
}

TEST(GeneratedTokens, DynamicRotaryFollowsTheRowsRead) {
  const std::unique_ptr<Model> model = dynamic_model();
  for (const std::int64_t tokens : {1, 3, 8, 16, 40, 25, 8}) {
    for (std::size_t q = 0; q < kDynamicPrompts.size(); ++q) {
      EXPECT_EQ(generate(*model, {kDynamicPrompts[q]}, greedy(tokens))[0], start_of(kDynamicWanted[q], tokens)) << q;
    }
  }
}

TEST(GeneratedTokens, DynamicRotaryKnowsNoNeighbours) {
  const std::unique_ptr<Model> model = dynamic_model();
  EXPECT_EQ(generate(*model, kDynamicPrompts, greedy(40)), kDynamicWanted);
  const TokenSequences two{kDynamicPrompts[3], kDynamicPrompts[2]}, wanted{kDynamicWanted[3], kDynamicWanted[2]};
  EXPECT_EQ(generate(*model, two, greedy(40)), wanted);
  // The same through the forward pass, for a long text beside short ones: losses and gradients are those alone.
  const auto loss_of = [&](const TokenSequences& texts) {
    TokenBatch batch;
    batch.batch = static_cast<int>(texts.size());
    for (const auto& ids : texts) batch.add(ids, std::vector<std::uint8_t>(ids.size(), 1));
    ExecutorOptions options;
    options.gradients = true;
    return run_step(*model, batch, Schedule::kDiagonal, options);
  };
  const StepResult together = loss_of(kDynamicPrompts);
  double sum = 0;
  std::map<std::string, std::vector<double>> grads;
  for (const auto& prompt : kDynamicPrompts) {
    const StepResult alone = loss_of({prompt});
    sum += alone.loss;
    for (const auto& [name, values] : alone.grads) {
      auto& total = grads[name];
      total.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) total[i] += values[i];
    }
  }
  EXPECT_NEAR(together.loss, sum, 1e-9);
  for (const auto& [name, values] : together.grads) {
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], grads[name][i], 1e-9) << name;
  }
}

TEST(GeneratedTokens, DynamicRotaryGoesOnWithWhatWasRead) {
  const std::unique_ptr<Model> model = dynamic_model();
  for (std::size_t q = 0; q < kDynamicPrompts.size(); ++q) {
    const auto& prompt = kDynamicPrompts[q];
    const auto middle = prompt.begin() + static_cast<std::ptrdiff_t>(prompt.size() / 2);
    Reading reading = new_reading(*model, 1);
    read_on(*model, {{prompt.begin(), middle}}, Schedule::kDiagonal, reading);
    read_on(*model, {{middle, prompt.end()}}, Schedule::kDiagonal, reading);
    EXPECT_EQ(generate_after(*model, reading, greedy(40))[0], kDynamicWanted[q]);
  }
}

// With a memory it goes by the rows of a full segment; a window's rows are counted from its first token.
TEST(GeneratedTokens, DynamicRotaryOfOtherModelsKnowsNoLimitEither) {
  for (const int kind : {0, 1, 2}) {
    ModelConfig config = tiny_config("llama", 2);
    config.attention().head_dim = 4;
    config.attention().rope_scaling = {"dynamic", 4, 1, 4, 6};
    if (kind > 0) config.armt.reset();
    if (kind == 1) {
      config.rmt.emplace();
      config.rmt = {.segment_size = 5, .num_mem_tokens = 3};
    }
    if (kind == 2) config.window = 9;
    const std::unique_ptr<Model> model = tiny_model(config);
    const TokenSequences prompts = random_batch({13, 5, 1}, 3, 11).sequences;
    GenerateOptions options = greedy(23);
    options.schedule = kind == 1 ? Schedule::kSequential : Schedule::kDiagonal;
    for (const bool closes : {true, false}) {
      options.close_segments = closes;
      options.max_new_tokens = 23;
      const auto together = generate(*model, prompts, options);
      for (std::size_t q = 0; q < prompts.size(); ++q) {
        for (const std::int64_t tokens : {3, 23}) {
          options.max_new_tokens = tokens;
          EXPECT_EQ(generate(*model, {prompts[q]}, options)[0], start_of(together[q], tokens)) << kind << " " << q;
          if (!model->recurrent()) continue;
          const TempFolder folder;
          Reading reading = new_reading(*model, 1);
          read_on(*model, {prompts[q]}, options.schedule, reading);
          save_reading(folder / "s", *model, "", reading);
          Reading loaded = load_reading(folder / "s", *model, "");
          EXPECT_EQ(generate_after(*model, loaded, options)[0], start_of(together[q], tokens)) << kind << " " << q;
        }
      }
    }
  }
}

TEST(GeneratedTokens, EveryPromptHasItsOwnDraws) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama"));
  const TokenSequences prompts = random_batch({4, 9, 4, 2, 7, 4, 1}, 7, 11).sequences;
  GenerateOptions options = greedy(12);
  options.temperature = 1.5;
  options.seed = 5;
  const auto together = generate(*model, prompts, options);
  for (const std::size_t batch : {1, 2, 3, 5}) {
    for (std::size_t first = 0; first < prompts.size(); first += batch) {
      const std::size_t end = std::min(prompts.size(), first + batch);
      options.first_prompt = first;
      options.max_new_tokens = batch == 3 ? 7 : 12;
      const auto part = generate(
          *model,
          {prompts.begin() + static_cast<std::ptrdiff_t>(first), prompts.begin() + static_cast<std::ptrdiff_t>(end)},
          options);
      for (std::size_t i = 0; i < part.size(); ++i) {
        EXPECT_EQ(part[i], start_of(together[first + i], options.max_new_tokens)) << batch << " " << first + i;
      }
    }
  }
  // A neighbour that ends early takes no draw with it; equal prompts at other numbers go on differently.
  options.first_prompt = 0;
  options.max_new_tokens = 12;
  int heard = 0;
  const auto ended =
      generate(*model, prompts, options, [&](int sample, std::int32_t) { return sample != 2 || ++heard < 3; });
  EXPECT_EQ(ended[3], together[3]);
  const auto same = generate(*model, {prompts[1], prompts[1]}, options);
  EXPECT_NE(same[0], same[1]);
}

}  // namespace
}  // namespace wt
