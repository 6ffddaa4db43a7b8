#include "train/models/model_config_json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"
#include "train/models/memory_config.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string fixture(const std::string& name) {
  return std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/" + name;
}

// The config.json that a model folder of this fixture would hold.
Json fixture_config(const std::string& name) {
  const Json meta = Json::parse(SafetensorsFile::open(fixture(name)).metadata().at("meta"));
  Json config = meta["config"];
  config["armt"] = meta["armt"];
  return config;
}

ModelConfig parse(const Json& json) {
  return parse_model_config(json.dump(), "config.json");
}

Json llama() {
  return {{"model_type", "llama"},    {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 160}, {"num_hidden_layers", 3}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"rope_theta", 5000},     {"tie_word_embeddings", false}};
}
Json gpt2() {
  return {{"model_type", "gpt2"}, {"vocab_size", 100}, {"n_embd", 64}, {"n_layer", 2}, {"n_head", 4}};
}

void expect_refused(Json json, const std::string& patch, const std::string& message) {
  json.merge_patch(Json::parse(patch));  // null removes
  EXPECT_ERROR(parse(json), Error, "config.json: " + message);
}

TEST(ModelConfigJson, ReadsThePublishedLlama) {
  const ModelConfig c = read_model_config(fixture("stories260K"));
  EXPECT_EQ(c.family, "llama");
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.hidden_size, 64);
  EXPECT_EQ(c.feed_forward.intermediate_size, 172);
  EXPECT_EQ(c.num_layers, 5);
  EXPECT_EQ(c.attention().num_heads, 8);
  EXPECT_EQ(c.attention().num_kv_heads, 4);
  EXPECT_EQ(c.attention().head_dim, 8);
  EXPECT_EQ(c.norm.eps, 1e-5);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_EQ(c.eos_ids, std::vector<std::int64_t>{2});
  EXPECT_FALSE(c.armt);
  EXPECT_TRUE(read_model_config(fixture("stories260K/config.json")) == c);
}

TEST(ModelConfigJson, ReadsTheGoldenModels) {
  const ModelConfig tiny = parse(fixture_config("armt_llama_tiny.safetensors"));
  EXPECT_EQ(tiny.hidden_size, 64);
  EXPECT_EQ(tiny.attention().kv_heads(), 2);
  EXPECT_FALSE(tiny.tie_word_embeddings);
  ASSERT_TRUE(tiny.armt);
  EXPECT_EQ(tiny.armt->segment_size, 16);
  EXPECT_EQ(tiny.armt->num_mem_tokens, 4);
  EXPECT_EQ(tiny.armt->d_mem, 8);
  EXPECT_TRUE(tiny.armt->correction);

  const ModelConfig tied = parse(fixture_config("armt_llama_tied_nocorrection.safetensors"));
  EXPECT_TRUE(tied.tie_word_embeddings);
  EXPECT_FALSE(tied.armt->correction);

  const ModelConfig gpt = parse(fixture_config("armt_gpt2_tiny.safetensors"));
  EXPECT_EQ(gpt.family, "gpt2");
  EXPECT_EQ(gpt.hidden_size, 48);
  EXPECT_EQ(gpt.mlp_width(), 192);
  EXPECT_EQ(gpt.max_positions, 64);
  EXPECT_EQ(gpt.eos_ids, std::vector<std::int64_t>{50256});
  EXPECT_EQ(gpt.dropout, 0);
}

TEST(ModelConfigJson, WhatIsWrittenReadsBackEqual) {
  std::vector<ModelConfig> configs;
  for (const char* name :
       {"armt_llama_tiny.safetensors", "armt_llama_tied_nocorrection.safetensors", "armt_gpt2_tiny.safetensors"}) {
    configs.push_back(parse(fixture_config(name)));
  }
  configs.push_back(read_model_config(fixture("stories260K")));
  ModelConfig scaled = configs[0];
  scaled.attention().rope_scaling = {"llama3", 8, 1, 4, 8192};
  scaled.attention().rope_theta = 500000;
  scaled.armt->segment_alignment = SegmentAlignment::kRight;
  scaled.bos_id = -1;
  configs.push_back(scaled);
  scaled.attention().rope_scaling = {"linear", 2.5};
  scaled.attention().bias = true;
  configs.push_back(scaled);
  scaled.attention().rope_scaling = {"dynamic", 2.5, 1, 4, scaled.max_positions};
  scaled.feed_forward.bias = true;
  configs.push_back(scaled);
  for (ModelConfig config : configs) {
    const std::string text = format_model_config(config, DType::kF32);
    if (config.family == "llama") config.attention().head_dim = config.attention().head_width(config.hidden_size);
    EXPECT_TRUE(parse_model_config(text, "config.json") == config) << text;
  }
  EXPECT_EQ(Json::parse(format_model_config(scaled, DType::kBF16))["torch_dtype"], "bfloat16");
  EXPECT_EQ(Json::parse(format_model_config(scaled, DType::kF64))["torch_dtype"], "float64");
}

// model_type says that a model has memory, so that nobody takes its weights for a plain backbone's; older folders have
// the backbone's there.
TEST(ModelConfigJson, MemoryIsTheModelsType) {
  const ModelConfig armt = parse(fixture_config("armt_gpt2_tiny.safetensors"));
  ModelConfig rmt = parse(fixture_config("armt_llama_tiny.safetensors")), window = rmt;
  rmt.armt.reset();
  rmt.rmt = {16, 2, SegmentAlignment::kRight};
  window.armt.reset();
  window.window = 64;
  const struct {
    const ModelConfig& config;
    const char *type, *backbone, *code;
  } kCases[] = {{armt, "armt", "gpt2", "modeling_wavetape.ArmtForCausalLM"},
                {rmt, "rmt", "llama", "modeling_wavetape.RmtForCausalLM"}};
  for (const auto& c : kCases) {
    Json json = Json::parse(format_model_config(c.config, DType::kF32));
    EXPECT_EQ(json["model_type"], c.type);
    EXPECT_EQ(json["backbone_type"], c.backbone);
    EXPECT_EQ(json["auto_map"]["AutoModelForCausalLM"], c.code);
    ModelConfig config = c.config;
    if (config.family == "llama") config.attention().head_dim = config.attention().head_width(config.hidden_size);
    EXPECT_TRUE(parse(json) == config);
    const std::string old = updated_config(json.dump(), "config.json", config, ConfigForm::kBackbone);
    EXPECT_EQ(Json::parse(old)["model_type"], c.backbone);
    EXPECT_FALSE(Json::parse(old).contains("auto_map"));
    EXPECT_TRUE(parse(Json::parse(old)) == config);
    EXPECT_EQ(Json::parse(updated_config(old, "config.json", config)), json);
    // What contradicts itself, or brings other code, is refused.
    json["auto_map"]["AutoModelForCausalLM"] = "modeling_other.Model";
    EXPECT_ERROR(parse(json), Error, "auto_map.AutoModelForCausalLM: is \"modeling_other.Model\"");
    json.erase("auto_map");
    EXPECT_TRUE(parse(json) == config);
    json.erase(c.type);
    EXPECT_ERROR(parse(json), Error, cat(c.type, ": is missing, expected the object"));
    json.erase("backbone_type");
    EXPECT_ERROR(parse(json), Error, "backbone_type: is missing, expected llama or gpt2");
  }
  const Json plain = Json::parse(format_model_config(window, DType::kF32));
  EXPECT_EQ(plain["model_type"], "llama");
  EXPECT_FALSE(plain.contains("auto_map"));
  // Folders hold the code that auto_map names, those of a plain backbone none.
  const TempFolder folder;
  for (const auto& [name, config] : {std::pair("armt", armt), std::pair("plain", window)}) {
    fs::create_directory(folder / name);
    write_model_config(folder / name, config, format_model_config(config, DType::kF32));
  }
  EXPECT_EQ(read_file(folder / "armt/modeling_wavetape.py"),
            read_file(std::string(WAVETAPE_SOURCE_DIR) + "/train/models/modeling_wavetape.py"));
  EXPECT_FALSE(fs::exists(folder / "plain/modeling_wavetape.py"));
}

TEST(ModelConfigJson, BiasesAndDynamicScaling) {
  Json json = llama();
  EXPECT_FALSE(parse(json).attention().bias || parse(json).feed_forward.bias);
  json.merge_patch(Json::parse(R"({"attention_bias": true, "mlp_bias": true, "max_position_embeddings": 4096,
    "rope_scaling": {"type": "dynamic", "factor": 2.0}, "pretraining_tp": 1, "rope_interleaved": false})"));
  const ModelConfig c = parse(json);
  EXPECT_TRUE(c.attention().bias && c.feed_forward.bias);
  EXPECT_TRUE(c.attention().rope_scaling == (RopeScaling{"dynamic", 2, 1, 4, 4096}));
}

TEST(ModelConfigJson, RotarySettingsAtTopLevelOrInside) {
  const RopeScaling expected{"llama3", 32, 1, 4, 8192};
  const Json scaling = {{"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192},
                        {"rope_type", "llama3"}};
  Json top = llama();
  top["rope_scaling"] = scaling;
  EXPECT_TRUE(parse(top).attention().rope_scaling == expected);
  EXPECT_EQ(parse(top).attention().rope_theta, 5000);

  Json inside = llama();
  inside.erase("rope_theta");
  inside["rope_parameters"] = scaling;
  inside["rope_parameters"]["rope_theta"] = 500000.0;
  EXPECT_TRUE(parse(inside).attention().rope_scaling == expected);
  EXPECT_EQ(parse(inside).attention().rope_theta, 500000);

  Json both = inside;
  both["rope_theta"] = 500000;
  both["rope_scaling"] = scaling;
  EXPECT_TRUE(parse(both).attention().rope_scaling == expected);
  both["rope_theta"] = 1;
  expect_refused(both, "{}", "rope_parameters.rope_theta: is 500000, but rope_theta at top level is 1");
  both["rope_theta"] = 500000;
  both["rope_scaling"]["factor"] = 2;
  expect_refused(both, "{}", "rope_parameters: contradicts rope_scaling at top level");

  Json old = llama();
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(parse(old).attention().rope_scaling.type, "linear");
  EXPECT_EQ(parse(old).attention().rope_scaling.factor, 2);
  old["rope_scaling"] = nullptr;
  old["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5000}};
  EXPECT_EQ(parse(old).attention().rope_scaling.type, "default");
}

TEST(ModelConfigJson, AbsentAndNullKeysHaveTheLibrarysDefaults) {
  Json json = llama();
  json.erase("num_key_value_heads");
  json.erase("tie_word_embeddings");
  json["head_dim"] = nullptr;
  json["eos_token_id"] = {7, 8};
  json["armt"] = nullptr;
  const ModelConfig c = parse(json);
  EXPECT_EQ(c.attention().num_kv_heads, 4);
  EXPECT_EQ(c.attention().head_width(c.hidden_size), 16);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_EQ(c.norm.eps, 1e-6);
  EXPECT_EQ(c.eos_ids, (std::vector<std::int64_t>{7, 8}));
  EXPECT_EQ(c.bos_id, -1);
  EXPECT_FALSE(c.armt);
  Json gpt = gpt2();
  gpt["n_inner"] = nullptr;
  EXPECT_EQ(parse(gpt).mlp_width(), 256);
  EXPECT_EQ(parse(gpt).max_positions, 1024);
  EXPECT_TRUE(parse(gpt).tie_word_embeddings);
  EXPECT_EQ(parse(gpt).dropout, 0.1);
}

TEST(ModelConfigJson, WhatIsNotSupportedIsNamed) {
  expect_refused(llama(), R"({"model_type":"mistral"})", R"(model_type: is "mistral", expected llama or gpt2)");
  expect_refused(llama(), R"({"hidden_act":"gelu"})", R"(hidden_act: is "gelu", expected silu or swish)");
  expect_refused(llama(), R"({"pretraining_tp":2})", "pretraining_tp: is 2, expected 1 (anything else is not");
  expect_refused(llama(), R"({"partial_rotary_factor":0.5})", "partial_rotary_factor: is 0.5, expected 1");
  expect_refused(llama(), R"({"rope_interleaved":true})", "rope_interleaved: is true, expected false");
  expect_refused(llama(), R"({"auto_map":{}})", "auto_map: is an object, expected nothing there");
  expect_refused(llama(), R"({"sliding_window":4096})", "sliding_window: is 4096, expected nothing there");
  expect_refused(llama(), R"({"quantization_config":{"bits":4}})",
                 "quantization_config: is an object, expected nothing");
  expect_refused(llama(), R"({"rope_scaling":{"rope_type":"yarn","factor":2}})",
                 R"(rope_scaling.rope_type: is "yarn", expected default or linear or dynamic or llama3)");
  expect_refused(llama(), R"({"rope_parameters":{"partial_rotary_factor":0.5}})",
                 "rope_parameters.partial_rotary_factor: is 0.5, expected 1");
  expect_refused(gpt2(), R"({"activation_function":"relu"})", R"(activation_function: is "relu", expected gelu_new)");
  expect_refused(gpt2(), R"({"scale_attn_weights":false})", "scale_attn_weights: is false, expected true");
  expect_refused(gpt2(), R"({"scale_attn_by_inverse_layer_idx":true})", "scale_attn_by_inverse_layer_idx: is true");
  expect_refused(gpt2(), R"({"add_cross_attention":true})", "add_cross_attention: is true, expected false");
  expect_refused(gpt2(), R"({"attn_pdrop":0})", "attn_pdrop: is 0, but resid_pdrop is 0.1; only one rate");
}

TEST(ModelConfigJson, WrongValuesNameKeyAndExpectation) {
  expect_refused(llama(), R"({"model_type":null})", "model_type: is missing, expected a value");
  expect_refused(llama(), R"({"hidden_size":null})", "hidden_size: is missing, expected a value");
  expect_refused(llama(), R"({"hidden_size":"64"})", R"(hidden_size: is "64", expected a whole number, at least 1)");
  expect_refused(llama(), R"({"hidden_size":64.5})", "hidden_size: is 64.5, expected a whole number");
  expect_refused(llama(), R"({"hidden_size":0})", "hidden_size: is 0, expected a whole number, at least 1");
  expect_refused(llama(), R"({"hidden_size":18446744073709551615})", "hidden_size: is 18446744073709551615, expected");
  expect_refused(llama(), R"({"hidden_size":[64]})", "hidden_size: is a list, expected a whole number");
  expect_refused(llama(), R"({"rms_norm_eps":0})", "rms_norm_eps: is 0, expected a number above 0");
  expect_refused(llama(), R"({"rms_norm_eps":"x"})", R"(rms_norm_eps: is "x", expected a number)");
  expect_refused(llama(), R"({"tie_word_embeddings":1})", "tie_word_embeddings: is 1, expected true or false");
  expect_refused(llama(), R"({"hidden_act":3})", "hidden_act: is 3, expected text");
  expect_refused(llama(), R"({"bos_token_id":-2})", "bos_token_id: is -2, expected a token id");
  expect_refused(llama(), R"({"eos_token_id":[]})", "eos_token_id: is a list, expected a token id");
  expect_refused(llama(), R"({"attention_dropout":1})", "attention_dropout: is 1, expected 0 to below 1");
  expect_refused(llama(), R"({"num_attention_heads":5,"head_dim":null})", "hidden_size: is 64, not a multiple");
  expect_refused(llama(), R"({"num_key_value_heads":3})", "num_key_value_heads: is 3, expected a divisor");
  expect_refused(gpt2(), R"({"n_head":5})", "n_embd: is 64, not a multiple of num_heads 5");
  expect_refused(llama(), R"({"rope_scaling":{"rope_type":"llama3","factor":8}})",
                 "rope_scaling.low_freq_factor: is missing, expected a value");
  expect_refused(llama(), R"({"rope_scaling":"linear"})", R"(rope_scaling: is "linear", expected an object)");
  expect_refused(llama(), R"({"armt":{"segment_size":16,"num_mem_tokens":4}})", "armt.d_mem: is missing");
  expect_refused(llama(), R"({"armt":{"segment_size":16,"num_mem_tokens":4,"d_mem":8,"segmnt":1}})",
                 "armt.segmnt: unknown key");
  expect_refused(llama(), R"({"armt":{"segment_size":16,"num_mem_tokens":4,"d_mem":8,"segment_alignment":"up"}})",
                 R"(armt.segment_alignment: is "up", expected left or right or center)");
  expect_refused(llama(), R"({"armt":{"segment_size":16,"num_mem_tokens":4,"d_mem":8,"nu":16}})",
                 "armt.nu: is 16, expected below 2 d_mem = 16");
}

TEST(ModelConfigJson, SizesBeyondAllModels) {
  expect_refused(llama(), R"({"hidden_size":9223372036854775806})",
                 "hidden_size: is 9223372036854775806, expected at most");
  expect_refused(llama(), R"({"num_hidden_layers":2000000000})",
                 "num_hidden_layers: is 2000000000, expected at most 10000");
  expect_refused(llama(), R"({"vocab_size":4294967296})", "vocab_size: is 4294967296, expected at most");
  expect_refused(llama(), R"({"armt":{"segment_size":16,"num_mem_tokens":900000000,"d_mem":8,"nu":3}})",
                 "armt.num_mem_tokens: is 900000000, expected at most");
}

TEST(ModelConfigJson, DamagedAndMissingFiles) {
  const TempFolder folder;
  EXPECT_ERROR(read_model_config(folder.path()), Error, "config.json: No such file or directory");
  EXPECT_ERROR(parse_model_config("{\"a\":", "c.json"), Error, "c.json: not valid JSON near byte 6");
  EXPECT_ERROR(parse_model_config("{\"a\": 1e400}", "c.json"), Error, "c.json: a number in it is out of range");
  EXPECT_ERROR(parse_model_config("[]", "c.json"), Error, "c.json: is a list, expected an object");
  EXPECT_ERROR(parse_model_config("\"\xff\"", "c.json"), Error, "c.json: not valid JSON");
  EXPECT_ERROR(parse_model_config("{\"a\":" + std::string(100'000, '[') + "1", "c.json"), Error,
               "c.json: lists or objects stand too deep in each other");
}

}  // namespace
}  // namespace wt
