// Mamba-2 and Bamba as files and commands have them: configuration, names, what is refused, state files, reading by
// segments.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "layers/families/family.h"
#include "schedulers/decoder.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/well_formed.h"
#include "train/config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"
#include "train/models/state_file.h"

namespace wt {
namespace {

using Json = nlohmann::json;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

const std::string kImports = WAVETAPE_SOURCE_DIR "/tests/fixtures/import/";

Json config_of(const std::string& name) {
  return Json::parse(read_file(kImports + name + "/config.json"));
}
ModelConfig parse(const Json& json) {
  return parse_model_config(json.dump(), "config.json");
}
const Mamba2Config& scan_of(const ModelConfig& c) {
  return std::get<Mamba2Config>(c.kinds.at(0).mixer);
}
const AttentionConfig& attention_of(const ModelConfig& c) {
  return std::get<AttentionConfig>(c.kinds.at(1).mixer);
}

TEST(StateSpaceConfig, ReadsMamba2) {
  const ModelConfig c = parse(config_of("mamba2"));
  EXPECT_EQ(c.family, "mamba2");
  EXPECT_EQ(c.num_layers, 2);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(scan_of(c).num_heads, 4);
  EXPECT_EQ(scan_of(c).num_groups, 2);
  EXPECT_EQ(scan_of(c).least_step, 0.05);
  EXPECT_EQ(scan_of(c).most_step, 1.5);
  EXPECT_EQ(c.feed_forward.kind, FeedForwardConfig::Kind::kNone);
  EXPECT_EQ(c.segment_size(), ModelConfig::kUsualSegment);
}

// The reference code's form of the same model is the same model.
TEST(StateSpaceConfig, ReadsTheReferenceCodes) {
  ModelConfig c = parse(config_of("mamba2_reference"));
  EXPECT_EQ(c.vocab_size, 24);  // 21, rounded up to a multiple of 8
  const ModelConfig published = parse(config_of("mamba2"));
  c.bos_id = published.bos_id;
  c.eos_ids = published.eos_ids;
  c.init_std = published.init_std;
  EXPECT_EQ(c, published);
}

TEST(StateSpaceConfig, ReadsBamba) {
  const ModelConfig c = parse(config_of("bamba_sharded"));
  EXPECT_EQ(c.kind_of_layer(), (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(attention_of(c).span, AttentionConfig::Span::kText);
  EXPECT_EQ(attention_of(c).partial_rotary_factor, 0.5);
  EXPECT_EQ(scan_of(c).most_step, kInfinity);
  EXPECT_EQ(scan_of(c).norm_eps, c.norm.eps);
}

TEST(StateSpaceConfig, HowMuchOfAHeadTurnsStandsInSeveralPlaces) {
  Json json = config_of("bamba_sharded");
  json.erase("rope_parameters");
  EXPECT_EQ(attention_of(parse(json)).partial_rotary_factor, 0.5);  // older files say nothing
  json["attn_rotary_emb"] = 2;
  EXPECT_EQ(attention_of(parse(json)).partial_rotary_factor, 0.25);
  json["partial_rotary_factor"] = 1.0;
  EXPECT_EQ(attention_of(parse(json)).partial_rotary_factor, 1);
}

// As Python writes infinity, as JSON can, and not at all.
TEST(StateSpaceConfig, InfinityIsReadInEverySpelling) {
  Json json = config_of("mamba2");
  for (const char* most : {"Infinity", R"("Infinity")", R"({"__float__": "Infinity"})"}) {
    std::string text = json.dump();
    const std::string limits = Json(json["time_step_limit"]).dump();
    text.replace(text.find(limits), limits.size(), cat("[0.05, ", most, "]"));
    EXPECT_EQ(scan_of(parse_model_config(text, "config.json")).most_step, kInfinity) << most;
  }
  json["time_step_limit"] = nullptr;
  EXPECT_EQ(scan_of(parse(json)).most_step, kInfinity);
  EXPECT_EQ(scan_of(parse(json)).least_step, 0);
  for (const char* wrong : {"[1]", "[2, 1]", "[null, 1]", R"(["Infinity", 1])", "3", R"([0, {"__float__": 1}])"}) {
    json["time_step_limit"] = Json::parse(wrong);
    EXPECT_ERROR(parse(json), Error, "config.json: time_step_limit: is ");
  }
  EXPECT_ERROR(parse_model_config(R"({"model_type": NaN})", "config.json"), Error, "not valid JSON");
}

TEST(StateSpaceConfig, IsWrittenAsItIsRead) {
  for (const char* name : {"mamba2", "bamba_sharded"}) {
    ModelConfig c = parse(config_of(name));
    EXPECT_EQ(parse_model_config(format_model_config(c, DType::kF32), "again"), c) << name;
    set_segment_size(c, 64);
    std::get<Mamba2Config>(c.kinds[0].mixer).least_step = 0.01;
    EXPECT_EQ(parse_model_config(format_model_config(c, DType::kF32), "again"), c) << name;
  }
}

TEST(StateSpaceConfig, WhatChangesTheNumbersIsRefused) {
  const auto expect_refused = [](Json json, const std::string& patch, const std::string& message) {
    json.merge_patch(Json::parse(patch));
    EXPECT_ERROR(parse(json), Error, "config.json: " + message);
  };
  const Json mamba = config_of("mamba2"), bamba = config_of("bamba_sharded"), reference = config_of("mamba2_reference");
  expect_refused(mamba, R"({"num_heads": 5})", "num_heads: times head_dim is 20, expected expand · hidden_size = 16");
  expect_refused(mamba, R"({"num_heads": 9223372036854775807})", "num_heads: is 9223372036854775807, expected at most");
  expect_refused(bamba, R"({"mamba_expand": 4611686018427387904})",
                 "mamba_expand: is 4611686018427387904, expected at");
  expect_refused(bamba, R"({"rope_parameters": {"partial_rotary_factor": 1e300}})",
                 "partial_rotary_factor: is 1e+300, expected above 0, at most 1");
  expect_refused(reference, R"({"pad_vocab_size_multiple": 9223372036854775807})", "pad_vocab_size_multiple: is 92");
  expect_refused(mamba, R"({"n_groups": 3})", "n_groups: is 3, expected a divisor of num_heads 4");
  expect_refused(mamba, R"({"hidden_act": "gelu"})", "hidden_act: is \"gelu\", expected silu or swish");
  expect_refused(mamba, R"({"conv_kernel": 1})", "conv_kernel: is 1, expected 2 to 64");
  expect_refused(mamba, R"({"conv_kernel": 100})", "conv_kernel: is 100, expected 2 to 64");
  expect_refused(mamba, R"({"rms_norm": false})", "rms_norm: is false, expected true");
  expect_refused(bamba, R"({"mamba_d_head": "wide"})", "mamba_d_head: is \"wide\", expected auto");
  expect_refused(bamba, R"({"mamba_d_head": 5})", "mamba_n_heads: times mamba_d_head is 20");
  expect_refused(bamba, R"({"attn_layer_indices": [1, 3]})", "attn_layer_indices: has layer 3 of 3");
  expect_refused(bamba, R"({"attn_layer_indices": [0, 1, 2]})", "mamba: has no layer left");
  expect_refused(bamba, R"({"rope_parameters": {"rope_type": "yarn"}})", "rope_parameters.rope_type: is \"yarn\"");
  expect_refused(bamba, R"({"rope_parameters": {"partial_rotary_factor": 0.1}})",
                 "partial_rotary_factor: is 0.1, which of a head of 8 turns 0, expected an even number");
  expect_refused(bamba, R"({"z_loss_coefficient": 0.001})", "z_loss_coefficient: is 0.001, expected 0");
  expect_refused(reference, R"({"ssm_cfg": {"layer": "Mamba1"}})", "ssm_cfg.layer: is \"Mamba1\", expected Mamba2");
  expect_refused(reference, R"({"attn_layer_idx": [3]})", "attn_layer_idx: is a list, expected []");
  expect_refused(reference, R"({"d_intermediate": 32})", "d_intermediate: is 32, expected 0");
  expect_refused(reference, R"({"ssm_cfg": {"headdim": 3}})", "ssm_cfg.headdim: is 3, not a divisor");
}

TEST(StateSpaceConfig, RelativesAreToldWhatTheyHaveBeyond) {
  const std::vector<std::pair<const char*, const char*>> relatives{
      {"granitemoehybrid", "Granite-4 is Bamba with multipliers"},
      {"zamba2", "transformer blocks that several layers share"},
      {"nemotron_h", "relu"},
      {"falcon_h1", "side by side in every layer"},
      {"mamba", "another recurrence"}};
  for (const auto& [type, what] : relatives) {
    EXPECT_ERROR(parse({{"model_type", type}, {"vocab_size", 8}}), Error,
                 cat("model_type: is ", type, ", which is not supported: "));
    EXPECT_ERROR(parse({{"model_type", type}, {"vocab_size", 8}}), Error, what);
  }
}

// YAML: each family's keys, and what does not fit said at its key.
const std::string kYaml = R"(run: {dir: runs/x}
model:
  type: bamba
  hidden_size: 16
  num_layers: 4
  mamba: {head_dim: 8, state_size: 8}
  attention: {layers: [1, 3], num_heads: 2}
data: {books: none, tokenizer: tokenizer.json}
train: {stages: [{name: one, segments: 2, steps: 1, batch_size: 1}]}
)";

TEST(StateSpaceYaml, IsRead) {
  const ModelConfig c = parse_config(kYaml, "b.yaml", {}).model;
  EXPECT_EQ(c.kind_of_layer(), (std::vector<int>{0, 1, 0, 1}));
  EXPECT_EQ(scan_of(c).shape(16).heads, 4);
  EXPECT_EQ(c.segment_size(), ModelConfig::kUsualSegment);
  EXPECT_EQ(parse_config(kYaml, "b.yaml", {"model.segment_size=64"}).model.segment_size(), 64);
  const ModelConfig again = parse_config(config_yaml(parse_config(kYaml, "b.yaml", {})), "again.yaml", {}).model;
  EXPECT_EQ(again, c);
  // One kind of layers, without a feed-forward half.
  const ModelConfig mamba = parse_config(R"(run: {dir: runs/x}
model: {type: mamba2, hidden_size: 16, num_layers: 2, head_dim: 8}
data: {books: none, tokenizer: tokenizer.json}
train: {stages: [{name: one, segments: 2, steps: 1, batch_size: 1}]}
)",
                                         "m.yaml", {})
                                .model;
  EXPECT_EQ(mamba.feed_forward.kind, FeedForwardConfig::Kind::kNone);
}

TEST(StateSpaceYaml, WhatDoesNotFitIsSaidAtItsKey) {
  const auto expect_refused = [](const std::string& override, const std::string& message) {
    EXPECT_ERROR(parse_config(kYaml, "b.yaml", {override}), UsageError, message);
  };
  expect_refused("model.mamba.num_groups=3", "model.mamba.num_groups: is 3, expected a divisor of num_heads 4");
  expect_refused("model.attention.layers=[4]", "model.attention.layers: has layer 4 of 4");
  expect_refused("model.attention.num_heads=0", "model.attention.num_heads: is missing");
  expect_refused("model.window=64", "model.window: is 64, which is for attention that reads a text as one segment");
}

TEST(StateSpaceYaml, ALlamaReadBySegmentsAttendsItsText) {
  const std::string yaml = R"(run: {dir: runs/x}
model: {type: llama, vocab_size: 50, hidden_size: 16, num_layers: 2, num_heads: 2}
data: {books: none, tokenizer: tokenizer.json}
train: {stages: [{name: one, segments: 1, steps: 1, batch_size: 1}]}
)";
  EXPECT_EQ(parse_config(yaml, "l.yaml", {}).model.attention().span, AttentionConfig::Span::kSegment);
  const ModelConfig c = parse_config(yaml, "l.yaml", {"model.segment_size=32"}).model;
  EXPECT_EQ(c.attention().span, AttentionConfig::Span::kText);
  EXPECT_EQ(c.segment_size(), 32);
  const ModelConfig again = parse_model_config(format_model_config(c, DType::kF32), "again");
  EXPECT_EQ(again.attention().span, AttentionConfig::Span::kText);
  EXPECT_EQ(again.segment_size(), 32);
  EXPECT_ERROR(parse_config(yaml, "l.yaml", {"model.segment_size=32", "model.window=64"}), UsageError,
               "but a window reads a text as one segment");
}

// A text's logits do not depend on how it is cut, whatever the family.
TEST(StateSpacePrograms, SegmentsMakeNoDifference) {
  for (const char* name : {"mamba2", "bamba_sharded", "llama_linear", "llama_sharded"}) {
    const TempFolder folder;
    const std::string model = kImports + name, ids = model + "/expected.safetensors";
    Tensor whole;
    for (const int segment : {0, 1, 7, 16, 64}) {
      const std::string out = folder / cat(segment, ".safetensors");
      const ProgramResult result = run_program(
          cat("forward '", model, "' --input '", ids, "' --output '", out, "' --dtype f64 --segment-size ", segment));
      ASSERT_EQ(result.code, 0) << result.err;
      const Tensor logits = SafetensorsFile::open(out).tensor("logits");
      if (segment == 0) whole = logits;
      for (std::int64_t i = 0; i < logits.numel(); ++i) {
        ASSERT_NEAR(logits.data<double>()[i], whole.data<double>()[i], 1e-10) << name << " by " << segment;
      }
    }
  }
}

// `forward` writes logits, loss, gradients and states as the golden files name and shape them.
TEST(StateSpacePrograms, ForwardWritesWhatTheGoldenFilesHold) {
  for (const char* name : {"mamba2_tiny", "bamba_tiny"}) {
    const TempFolder folder;
    const SafetensorsFile golden =
        SafetensorsFile::open(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/" + name + ".safetensors");
    const Json meta = Json::parse(golden.metadata().at("meta"));
    std::filesystem::create_directory(folder / "model");
    write_file(folder / "model/config.json", meta["config"].dump());
    NamedTensors weights;
    for (const std::string& key : golden.names()) {
      if (key.starts_with("param.")) weights.emplace_back(key.substr(6), golden.tensor(key));
    }
    write_safetensors(folder / "model/model.safetensors", weights);
    write_safetensors(folder / "in", {{"input_ids", golden.tensor("len37.input_ids")},
                                      {"labels_mask", golden.tensor("len37.labels_mask")}});
    for (const char* options :
         {"", "--segment-size 8 --activations recompute", "--segment-size 1 --schedule sequential"}) {
      const ProgramResult result =
          run_program(cat("forward '", folder / "model", "' --input '", folder / "in", "' --output '", folder / "out",
                          "' --backward --dtype f64 ", options));
      ASSERT_EQ(result.code, 0) << result.err;
      const SafetensorsFile out = SafetensorsFile::open(folder / "out");
      int compared = 0;
      for (const std::string& key : out.names()) {
        ASSERT_TRUE(golden.contains("len37." + key)) << key;
        const Tensor got = out.tensor(key), want = golden.tensor("len37." + key).to(Stream{}, DType::kF64);
        ASSERT_EQ(got.shape(), want.shape()) << key;
        double difference = 0, norm = 0;
        for (std::int64_t i = 0; i < want.numel(); ++i) {
          difference += std::pow(got.data<double>()[i] - want.data<double>()[i], 2);
          norm += std::pow(want.data<double>()[i], 2);
        }
        EXPECT_LT(std::sqrt(difference / norm), 1e-6) << name << " " << key << " " << options;
        ++compared;
      }
      EXPECT_GT(compared, 30);
    }
  }
}

TEST(StateSpacePrograms, WhatDoesNotGoWithAModelIsSaid) {
  const std::string ids = kImports + "gpt2/expected.safetensors";
  const TempFolder folder;
  ProgramResult result = run_program(cat("forward '", kImports, "gpt2' --input '", ids, "' --output '",
                                         folder / "o.safetensors", "' --segment-size 8"));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("--segment-size does not go with this model"), std::string::npos) << result.err;
  result = run_program(cat("forward '", kImports, "llama_dynamic' --input '", kImports,
                           "llama_dynamic/expected.safetensors' --output '", folder / "o.safetensors",
                           "' --segment-size 8"));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("rope_scaling.type is dynamic"), std::string::npos) << result.err;
}

// What was read is saved and gone on with: the continuation is that of the whole text.
TEST(StateSpacePrograms, StatesAreSavedAndGoneOnWith) {
  for (const char* type : {"mamba2", "bamba", "mixed"}) {
    const TempFolder folder;
    const auto model = tiny_model(without_memory(tiny_config(type, 3)), DType::kF32);
    const TokenSequences text = random_batch({33}, 1, 11).sequences;
    Reading reading = new_reading(*model, 1), whole = new_reading(*model, 1);
    read_on(*model, {{text[0].begin(), text[0].begin() + 18}}, Schedule::kDiagonal, reading);
    save_reading(folder / "state", *model, "", reading);
    Reading again = load_reading(folder / "state", *model, "");
    EXPECT_EQ(again.open, reading.open);
    EXPECT_EQ(again.closed, reading.closed);
    read_on(*model, {{text[0].begin() + 18, text[0].end()}}, Schedule::kDiagonal, again);
    read_on(*model, text, Schedule::kDiagonal, whole);
    const std::int64_t rows = model->closed_rows(whole.closed[0]);
    EXPECT_EQ(rows, 30);
    const NamedTensors got = again.memory.published(0, rows), want = whole.memory.published(0, rows);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto a = got[i].second.to_vector<float>(), b = want[i].second.to_vector<float>();
      for (std::size_t k = 0; k < a.size(); ++k) EXPECT_NEAR(a[k], b[k], 1e-4 * std::max(1.0f, std::abs(b[k])));
    }
  }
}

TEST(StateSpacePrograms, AStateWithOtherRowsIsDamaged) {
  const TempFolder folder;
  const auto model = tiny_model(without_memory(tiny_config("bamba", 3)), DType::kF32);
  Reading reading = new_reading(*model, 1);
  read_on(*model, random_batch({18}, 1, 11).sequences, Schedule::kDiagonal, reading);
  save_reading(folder / "state", *model, "", reading);
  const SafetensorsFile file = SafetensorsFile::open(folder / "state");
  NamedTensors tensors;
  for (const std::string& name : file.names()) {
    const Tensor value = file.tensor(name);
    tensors.emplace_back(name, name.starts_with("key.") ? value.slice(0, 10) : value);
  }
  write_safetensors(folder / "cut", tensors, file.metadata());
  EXPECT_ERROR(load_reading(folder / "cut", *model, ""), Error, "tensor key.1 is [10,1,4], expected 15 rows");
}

// Chunks that know nothing of each other: the state is zero where each begins, in reading and in decoding.
TEST(Independent, EverySegmentsScanBeginsAnew) {
  ModelConfig config = without_memory(tiny_config("mamba2", 3));
  const auto passed = tiny_model(config);
  std::get<Mamba2Config>(config.kinds[0].mixer).passes_state = false;
  const auto independent = tiny_model(config);
  const TokenSequences text = random_batch({23}, 1, 11).sequences;
  std::vector<TokenPlace> places;
  for (std::int64_t t = 0; t < 23; ++t) places.push_back({0, t});
  const auto hidden = [&](const Model& model, Schedule schedule) {
    State state = model.new_state(1);
    return Executor(model).forward(Work(model, text, 1, schedule, places), state, {}).to_vector<double>();
  };
  const std::vector<double> a = hidden(*passed, Schedule::kDiagonal), b = hidden(*independent, Schedule::kDiagonal),
                            c = hidden(*independent, Schedule::kSequential);
  double first = 0, later = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(b[i], c[i], 1e-12);
    (i < 5 * 8 ? first : later) = std::max(i < 5 * 8 ? first : later, std::abs(a[i] - b[i]));
  }
  EXPECT_LT(first, 1e-12);  // of the first segment
  EXPECT_GT(later, 1e-3);
  // Row by row as at once.
  Reading reading = new_reading(*independent, 1);
  read_on(*independent, text, Schedule::kDiagonal, reading);
  Decoder decoder(*independent, reading.memory, {independent->closed_rows(reading.closed[0])}, 5);
  Tensor last;
  for (const std::int32_t id : reading.open[0]) last = decoder.append({{id}});
  const std::vector<double> got = last.to_vector<double>();
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], b[b.size() - got.size() + i], 1e-12);
}

TEST(Chunking, IsMeasuredByStrategyChunkCacheAndPrompt) {
  const TempFolder folder;
  const ProgramResult result = run_program(cat(
      "bench chunking --model '", kImports, "bamba_sharded' --chunk-size 4,8 --prompt 8,19 --new-tokens 3 --use-cache ",
      "on,off --repeats 1 --dtype f32 --device cpu --json '", folder / "rows.json", "' --plots '", folder / "plots",
      "'"));
  ASSERT_EQ(result.code, 0) << result.err;
  const Json rows = Json::parse(read_file(folder / "rows.json")).at("rows");
  ASSERT_EQ(rows.size(), 2u * 2 * 2 * 2);
  for (const Json& row : rows) {
    const auto prompt = row.at("prompt_tokens").get<int>(), chunk = row.at("chunk_size").get<int>();
    EXPECT_EQ(row.at("chunks"), (prompt + chunk - 1) / chunk);
    const double first = row.at("time_to_first_token"), latency = row.at("latency"), each = row.at("inter_token");
    EXPECT_GT(first, 0);
    EXPECT_NEAR(first + 2 * each, latency, 1e-9);
    EXPECT_NEAR(row.at("tokens_per_second").get<double>() * latency, 3, 1e-9);
    EXPECT_GT(row.at("peak_bytes"), 0);
  }
  for (const char* name : {"first_token", "latency", "tokens_per_second", "memory", "first_token_uncached"}) {
    expect_well_formed(read_file(folder / cat("plots/", name, ".svg")));
  }
  const ProgramResult refused =
      run_program(cat("bench chunking --model '", kImports, "gpt2' --device cpu --dtype f32"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("segment"), std::string::npos) << refused.err;
}

TEST(Independent, IsRefusedWhereThereIsNoScan) {
  ModelConfig llama = tiny_config("llama");
  EXPECT_ERROR(apply({.segment_size = 0, .passes_state = false}, llama), UsageError, "for models with Mamba-2 layers");
  ModelConfig mamba = without_memory(tiny_config("mamba2"));
  apply({.segment_size = 0, .passes_state = false}, mamba);
  EXPECT_EQ(mamba.segment_size(), scan_of(mamba).chunk_size);
  EXPECT_FALSE(scan_of(mamba).passes_state);
}

}  // namespace
}  // namespace wt
