// What a model is said to cost against what its products were counted to (kernels/flops_cpu.h).
#include "train/costs.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "kernels/flops_cpu.h"
#include "tests/schedulers/support.h"
#include "train/eval/generate.h"

namespace wt {
namespace {

constexpr std::int64_t kSegment = 5, kTokens = 3 * kSegment;

struct Kind {
  std::string name;
  ModelConfig config;
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

ModelConfig with_rmt(ModelConfig c) {
  c.armt.reset();
  c.rmt = RmtConfig{.segment_size = kSegment, .num_mem_tokens = 2};
  return c;
}

ModelConfig plain(const ModelConfig& c) {
  return without_memory(c);
}

std::vector<Kind> kinds() {
  ModelConfig llama = tiny_config("llama", 3), gpt2 = tiny_config("gpt2", 3), hybrid = tiny_config("hybrid", 3);
  ModelConfig mamba2 = tiny_config("mamba2", 3), bamba = tiny_config("bamba", 3), mixed = tiny_config("mixed", 3);
  for (ModelConfig* c : {&llama, &gpt2, &hybrid, &mamba2, &bamba, &mixed}) {
    c->armt->segment_size = kSegment;
    c->max_positions = kTokens;
  }
  ModelConfig biased = llama, wide = llama, adapted = llama, adapted_gpt2 = gpt2;
  biased.attention().bias = biased.feed_forward.bias = true;
  biased.tie_word_embeddings = true;
  wide.attention().num_heads = 4;
  wide.attention().num_kv_heads = 2;
  wide.attention().head_dim = 6;
  wide.armt->correction = false;
  for (ModelConfig* c : {&adapted, &adapted_gpt2}) {
    c->lora.emplace().rank = 2;
  }
  // Whole matrices: an adapter of a part (q_proj of three) pays for the width of all of it.
  adapted.lora->targets = {"o_proj", "down_proj"};
  adapted_gpt2.lora->targets = {"c_attn", "c_proj"};
  return {{"armt_llama", llama},           {"armt_llama_biases", biased}, {"armt_llama_wide_heads", wide},
          {"armt_llama_lora", adapted},    {"armt_gpt2", gpt2},           {"armt_gpt2_lora", adapted_gpt2},
          {"rmt_llama", with_rmt(llama)},  {"rmt_gpt2", with_rmt(gpt2)},  {"llama", plain(llama)},
          {"llama_biases", plain(biased)}, {"gpt2", plain(gpt2)},         {"armt_hybrid", hybrid},
          {"hybrid", plain(hybrid)},       {"mamba2", plain(mamba2)},     {"bamba", plain(bamba)},
          {"armt_mixed", mixed},           {"armt_mamba2", mamba2}};
}

// The costs' own interface, here alone.
struct Expected {
  double blocks = 0, head = 0;
};
Expected expected_flops(const Model& model, std::int64_t tokens, std::int64_t head_rows) {
  return {sequence_flops(model, tokens), model.head_flops(head_rows)};
}

template <class Task>
double counted(const Task& task) {
  const std::int64_t before = kernels::cpu::product_flops();
  task();
  return static_cast<double>(kernels::cpu::product_flops() - before);
}

class Costs : public ::testing::TestWithParam<Kind> {
 protected:
  double run(Schedule schedule, const ExecutorOptions& options) {
    return counted([&] { run_step(*model_, batch_, schedule, options); });
  }

  std::unique_ptr<Model> model_ = tiny_model(GetParam().config);
  TokenBatch batch_ = random_batch({kTokens}, 1, GetParam().config.vocab_size);
  Expected expected_ = expected_flops(*model_, kTokens, batch_.num_targets());
};

// One cell at a time, every segment full: nothing is computed that is not asked for.
TEST_P(Costs, OfAForwardPassAreItsProducts) {
  EXPECT_EQ(run(Schedule::kSequential, {}), expected_.blocks + expected_.head);
  Executor executor(*model_);
  ExecutorOptions recorded;
  recorded.gradients = true;
  const Work work(*model_, batch_.sequences, 1, Schedule::kSequential);
  State state = model_->new_state(1);
  const double forward = counted([&] { executor.forward(work, state, recorded); });
  EXPECT_EQ(forward, expected_.blocks);
}

// A wave that reads the memory for one of its cells projects the queries of all.
TEST_P(Costs, OfWavesAreHardlyMore) {
  const double products = run(model_->one_after_another() ? Schedule::kSequential : Schedule::kDiagonal, {});
  EXPECT_GE(products, expected_.blocks + expected_.head);
  EXPECT_LT(products, 1.05 * (expected_.blocks + expected_.head));
}

// Backward is twice as much, but attention computes its scores again, and what the memory's mass grows by (gamma) takes
// no gradient.
TEST_P(Costs, OfBackwardAreTwiceThat) {
  ExecutorOptions options;
  options.gradients = true;
  const ModelConfig& c = model_->config();
  if (!std::holds_alternative<AttentionConfig>(c.kinds[0].mixer)) {
    // The scan computes its chunks again, too.
    const double times = run(Schedule::kSequential, options) / (expected_.blocks + expected_.head);
    EXPECT_GT(times, 3) << times;
    EXPECT_LT(times, 3.2) << times;
    return;
  }
  const std::int64_t size = model_->segment_size(kTokens), rows = model_->layout().rows(size);
  const kernels::AttentionHeads heads = c.attention().heads(c.hidden_size);
  const std::int64_t scores = rows * rows * heads.query * heads.width;
  const std::int64_t mass = c.armt ? 2 * c.armt->num_mem_tokens * c.armt->num_features() : 0;
  const std::int64_t cells = c.num_layers * (kTokens / size);
  const double forward = expected_.blocks + expected_.head, both = run(Schedule::kSequential, options);
  EXPECT_EQ(both, 3 * forward + static_cast<double>(cells * (scores - mass)));
  options.activations = Activations::kRecompute;
  EXPECT_EQ(run(Schedule::kSequential, options) - both, expected_.blocks);
}

INSTANTIATE_TEST_SUITE_P(All, Costs, ::testing::ValuesIn(kinds()), [](const auto& test) { return test.param.name; });

// Each new token meets the keys of those before it: in all as much as reading the text at once.
TEST(DecodingCosts, AreThoseOfReading) {
  for (const char* type : {"llama", "gpt2"}) {
    ModelConfig config = plain(tiny_config(type, 3));
    config.max_positions = 20;
    const auto model = tiny_model(config);
    GenerateOptions options;
    options.max_new_tokens = 6;
    const Expected expected = expected_flops(*model, 7 + 6 - 1, 6);
    const double products = counted([&] { generate(*model, {{1, 2, 3, 4, 5, 6, 7}}, options); });
    EXPECT_EQ(products, expected.blocks + expected.head) << type;
  }
}

}  // namespace
}  // namespace wt
