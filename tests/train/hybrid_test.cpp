// A stack of several kinds of layers as users have it: a YAML file, a run, a folder.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/files.h"
#include "layers/families/family.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr const char* kModel = R"(model:
  type: hybrid
  hidden_size: 16
  intermediate_size: 24
  num_layers: 4
  dropout: 0.1
  mixers:
    - {name: wide, num_heads: 2, rope_theta: 500, rope_scaling: {type: linear, factor: 2}}
    - {name: narrow, num_heads: 4, num_kv_heads: 2, layers: [0, 3], attention_bias: true}
  armt: {segment_size: 24, num_mem_tokens: 3, d_mem: 4}
)";

std::string config_text(const std::string& run, const std::string& more = "") {
  return cat("run: {dir: ", run, ", device: cpu, threads: 1, dtype: f64}\n", kModel, more, R"(
data:
  task: associative_retrieval
  retrieval: {key_length: 2, value_length: 2, pairs_per_segment: 3}
train:
  batch_size: 2
  checkpoint_every: 3
  validate_every: 0
  validation_samples: 2
  wave_schedule: diagonal
  stages:
    - {segments: 3, steps: 6, lr: 1e-2}
eval: {lengths: [3p], samples: 2, max_new_tokens: 4}
)");
}

Config parse(const std::vector<std::string>& overrides = {}) {
  return parse_config(config_text("runs/h"), "h.yaml", overrides);
}

TEST(Hybrid, ItsKeysSurviveWritingAndReading) {
  const Config config = parse();
  const ModelConfig& model = config.model;
  ASSERT_EQ(model.kinds.size(), 2u);
  EXPECT_EQ(model.kinds[0].name, "wide");
  EXPECT_TRUE(model.kinds[0].layers.empty());
  EXPECT_EQ(model.kind_of_layer(), (std::vector<int>{1, 0, 0, 1}));
  const auto& narrow = std::get<AttentionConfig>(model.kinds[1].mixer);
  EXPECT_EQ(narrow.kv_heads(), 2);
  EXPECT_TRUE(narrow.bias);
  EXPECT_EQ(std::get<AttentionConfig>(model.kinds[0].mixer).rope_scaling.type, "linear");
  EXPECT_TRUE(parse_config(config_yaml(config), "again.yaml").model == model);
  EXPECT_EQ(parse({"model.mixers.1.num_heads=8"}).model.kinds[1].name, "narrow");
}

TEST(Hybrid, ConfigJsonSaysTheSame) {
  ModelConfig config = parse().model;
  config.vocab_size = 40;
  for (const bool with_memory : {true, false}) {
    if (!with_memory) config.armt.reset();
    const std::string text = format_model_config(config, DType::kF32);
    EXPECT_TRUE(parse_model_config(text, "config.json") == config) << text;
    EXPECT_TRUE(contains(text, "\"model_type\": \"hybrid\""));
    // No other library has a class for it.
    EXPECT_FALSE(contains(text, "auto_map"));
  }
}

TEST(Hybrid, WhatDoesNotFitIsSaidAtItsKey) {
  const auto refused = [](const std::string& override, const std::string& message) {
    EXPECT_ERROR(parse({override}), UsageError, message);
  };
  refused("model.mixers.1.layers=[0,4]", "model.mixers.1.layers: has layer 4 of 4");
  refused("model.mixers.0.layers=[0,1]", "model.mixers.1.layers: has layer 0, which mixer 0 has as well");
  refused("model.mixers.1.layers=[]", "model.mixers.1.layers: is missing, and of mixer 0 too");
  refused("model.mixers.1.layers=[0,1,2,3]", "model.mixers.0: has no layer left");
  refused("model.mixers.0.layers=[1]", "model.mixers: leave layer 2 without one");
  refused("model.mixers.1.name=wide", "model.mixers.1.name: is 'wide', which mixer 0 is called as well");
  refused("model.mixers.1.kind=mamba", "model.mixers.1.kind: is 'mamba', expected attention");
  refused("model.mixers.1.num_kv_heads=3", "model.mixers.1.num_kv_heads: is 3, expected a divisor of num_heads 4");
  refused("model.mixers.0.num_heads=3", "model.hidden_size: is 16, not a multiple of num_heads 3");
  refused("model.num_heads=4", "model.num_heads: unknown key");
  refused("model.type=llama", "model.mixers: unknown key");
}

TEST(Hybrid, InterruptedAndResumedIsAtOnce) {
  const TempFolder folder;
  const auto train = [&](const std::string& name, const std::string& rest) {
    const std::string config = folder / (name + ".yaml");
    if (!fs::exists(config)) write_file(config, config_text(folder / name));
    const ProgramResult result = run_program(cat("train ", config, " --no-eval ", rest));
    ASSERT_EQ(result.code, 0) << result.err;
  };
  train("whole", "");
  train("parts", "--max-steps 3");
  train("parts", "--resume");
  train("again", "train.activations=recompute");
  train("threads", "run.threads=3");
  const auto weights = [&](const std::string& name) {
    return read_file(folder / (name + "/checkpoints/step_00000006/weights.safetensors"));
  };
  EXPECT_TRUE(weights("again") == weights("whole"));
  EXPECT_TRUE(weights("threads") == weights("whole"));
  EXPECT_TRUE(weights("parts") == weights("whole"));

  const std::string out = folder / "out";
  const ProgramResult exported = run_program(cat("export ", folder / "whole", " ", out));
  ASSERT_EQ(exported.code, 0) << exported.err;
  const ProgramResult info = run_program("info " + out);
  EXPECT_EQ(info.code, 0) << info.err;
  EXPECT_TRUE(contains(info.out, "wide: 2 heads (2 key/value) of 8, layers 1 2")) << info.out;
  EXPECT_TRUE(contains(info.out, "narrow: 4 heads (2 key/value) of 4, layers 0 3")) << info.out;
  const auto model = load_model(find_model(out), DType::kF64, {}, WeightUse::kInference);
  EXPECT_EQ(model->kinds().count(), 2);
  const ProgramResult generated = run_program(cat("generate ", out, " --input-ids 1,2,3,4,5 --max-new-tokens 40"));
  EXPECT_EQ(generated.code, 0) << generated.err;
}

TEST(Hybrid, AdaptersStandBesideEveryKindsMatrices) {
  ModelConfig config = parse().model;
  config.vocab_size = 40;
  config.lora = LoraConfig{.rank = 2, .targets = {"q_proj", "down_proj"}};
  const Model model(config, DType::kF32);
  int of_queries = 0;
  for (const auto& parameter : model.parameters().all()) {
    if (parameter->spec().role != Role::kAdapter) continue;
    of_queries += parameter->spec().parts[0].name.find("q_proj") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(of_queries, 4);  // A and B of two kinds
}

}  // namespace
}  // namespace wt
