// Checkpoints from outside: logits against Hugging Face's library (tests/fixtures/import/make_models.py), wrapping in a
// fresh memory, what is refused.
#include "train/models/import.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tolerances.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kFixtures = WAVETAPE_SOURCE_DIR "/tests/fixtures/import/";
const std::vector<std::string> kModels{"llama_biases", "llama_linear", "llama_dynamic",    "llama_sharded",
                                       "gpt2",         "mamba2",       "mamba2_reference", "bamba_sharded"};

std::vector<double> numbers(const Tensor& tensor) {
  return tensor.to(Stream{}, DType::kF64).to_vector<double>();
}

// The largest difference of `wavetape forward`'s logits from the library's.
double worst_difference(const std::string& model, const std::string& fixture, const std::string& arguments) {
  const TempFolder folder;
  const std::string expected = kFixtures + fixture + "/expected.safetensors", out = folder / "out.safetensors";
  const ProgramResult result =
      run_program("forward '" + model + "' --input '" + expected + "' --output '" + out + "' " + arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  if (result.code != 0) return INFINITY;
  const Tensor got = SafetensorsFile::open(out).tensor("logits"),
               want = SafetensorsFile::open(expected).tensor("logits");
  EXPECT_EQ(got.shape(), want.shape());
  const std::vector<double> a = numbers(got), b = numbers(want);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  EXPECT_GT(largest, 1) << "a model that says nothing proves nothing";
  return worst;
}

// The library computes rotary angles and norms in float32 even in double: no better than kGoldenLogitsF32 can be asked.
TEST(Import, LogitsAreThoseOfTheLibrary) {
  for (const std::string& name : kModels) {
    EXPECT_LT(worst_difference(kFixtures + name, name, "--dtype f32"), kGoldenLogitsF32) << name;
    EXPECT_LT(worst_difference(kFixtures + name, name, "--dtype f64"), kGoldenLogitsF32) << name;
  }
}

TEST(Import, AFreshMemoryChangesNothing) {
  for (const std::string& name : kModels) {
    const TempFolder folder;
    const std::string out = folder / "armt";
    // GPT-2's positions are the table's, rotary ones restart with every segment: one segment for all tokens.
    const std::string size = name == "gpt2" ? "32" : "40";
    const ProgramResult made = run_program("import '" + kFixtures + name + "' '" + out + "' --segment-size " + size +
                                           " --num-mem-tokens 3 --d-mem 4 --nu 2 --no-correction --seed 5");
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_NE(made.out.find("fresh memory"), std::string::npos) << made.out;
    EXPECT_NE(made.err.find("no tokenizer.json"), std::string::npos) << made.err;
    // Dynamic rotary scaling goes by the rows of a full segment, which here are more than the library saw.
    if (name != "llama_dynamic") {
      EXPECT_LT(worst_difference(out, name, ""), kGoldenLogitsF32) << name;
    }

    const ModelConfig config = read_model_config(out), plain = read_model_config(kFixtures + name);
    ASSERT_TRUE(config.armt);
    EXPECT_EQ(config.armt->num_mem_tokens, 3);
    EXPECT_EQ(config.armt->d_mem, 4);
    EXPECT_EQ(config.armt->nu, 2);
    EXPECT_FALSE(config.armt->correction);
    EXPECT_TRUE(config.kinds == plain.kinds);
    EXPECT_EQ(Json::parse(read_file(out + "/config.json"))["transformers_version"],
              Json::parse(read_file(kFixtures + name + "/config.json"))["transformers_version"])
        << "keys we do not know stay";
  }
}

TEST(Import, DynamicScalingGoesByTheFullSegment) {
  // With one memory token and 19 tokens a segment has the 20 rows that the library was asked for.
  const TempFolder folder;
  ImportOptions options;
  options.armt.segment_size = 19;
  options.armt.num_mem_tokens = 1;
  options.armt.d_mem = 4;
  import_model(kFixtures + "llama_dynamic", options, folder / "armt");
  const SafetensorsFile expected = SafetensorsFile::open(kFixtures + "llama_dynamic/expected.safetensors");
  const std::vector<std::int64_t> ids = expected.tensor("input_ids").to_vector<std::int64_t>();
  std::vector<std::int64_t> first;
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t t = 0; t < 19; ++t) first.push_back(ids[b * 20 + t]);
  }
  write_safetensors(folder / "in.safetensors", {{"input_ids", Tensor::from<std::int64_t>({2, 19}, first)}});
  const ProgramResult result = run_program("forward " + (folder / "armt") + " --input " + (folder / "in.safetensors") +
                                           " --output " + (folder / "out.safetensors"));
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<double> got = numbers(SafetensorsFile::open(folder / "out.safetensors").tensor("logits"));
  const std::vector<double> want = numbers(expected.tensor("logits"));
  const std::size_t v = want.size() / 40;
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t i = 0; i < 19 * v; ++i) {
      ASSERT_NEAR(got[b * 19 * v + i], want[b * 20 * v + i], kGoldenLogitsF32);
    }
  }
}

TEST(Import, KeepsBytesAndDrawsTheMemory) {
  const TempFolder folder;
  ImportOptions options;
  options.armt.segment_size = 8;
  options.armt.num_mem_tokens = 400;
  options.armt.d_mem = 6;
  const struct {
    const char *name, *dtype, *stored, *published;
  } kCases[] = {
      {"llama_dynamic", "F16", "model.layers.1.mlp.up_proj.weight",
       "memory_cell.model.model.layers.1.layer.mlp.up_proj.weight"},
      {"llama_biases", "F32", "model.layers.0.self_attn.k_proj.bias",
       "memory_cell.model.model.layers.0.layer.self_attn.k_proj.bias"},
      {"gpt2", "F32", "h.1.attn.c_attn.weight", "memory_cell.model.transformer.h.1.layer.attn.c_attn.weight"}};
  for (const auto& c : kCases) {
    const ImportReport report = import_model(kFixtures + c.name, options, folder / c.name);
    EXPECT_EQ(report.dtype, c.dtype);
    const SafetensorsFile source = SafetensorsFile::open(kFixtures + c.name + "/model.safetensors");
    const SafetensorsFile made = SafetensorsFile::open(folder / (std::string(c.name) + "/model.safetensors"));
    std::int64_t count = 0;
    for (const std::string& name : made.names()) {
      EXPECT_EQ(made.stored_dtype(name), c.dtype) << name;
      count += made.shape(name).numel();
    }
    EXPECT_EQ(count, report.parameters);
    EXPECT_EQ(made.stored(c.published).bytes, source.stored(c.stored).bytes);

    const bool gpt2 = std::string(c.name) == "gpt2";
    const std::vector<double> table = numbers(source.tensor(gpt2 ? "wte.weight" : "model.embed_tokens.weight"));
    const std::vector<double> memory = numbers(made.tensor("memory_cell.memory"));
    const auto deviation = [](const std::vector<double>& values) {
      double mean = 0, square = 0;
      for (const double value : values) mean += value / static_cast<double>(values.size());
      for (const double value : values) square += (value - mean) * (value - mean);
      return std::sqrt(square / static_cast<double>(values.size() - 1));
    };
    EXPECT_NEAR(deviation(memory), deviation(table), 0.06 * deviation(table));
    const std::string layer = std::string("memory_cell.model.") + (gpt2 ? "transformer.h.0." : "model.layers.0.");
    for (const double value : numbers(made.tensor(layer + "W_mv.weight"))) ASSERT_EQ(value, 0);
    double largest = 0;
    for (const double value : numbers(made.tensor(layer + "W_mq.weight"))) largest = std::max(largest, std::abs(value));
    EXPECT_LE(largest, 1 / std::sqrt(8.0) + 1e-3);
    EXPECT_GT(largest, 0.8 / std::sqrt(8.0));
    if (gpt2) {
      const std::string grown(made.stored("memory_cell.model.transformer.wpe.weight").bytes);
      EXPECT_EQ(made.shape("memory_cell.model.transformer.wpe.weight"), (Shape{432, 8}));
      EXPECT_TRUE(grown.starts_with(source.stored("wpe.weight").bytes));
    }
  }
  // Another seed, another memory; the same one, the same file.
  import_model(kFixtures + "gpt2", options, folder / "again");
  EXPECT_EQ(read_file(folder / "again/model.safetensors"), read_file(folder / "gpt2/model.safetensors"));
  options.seed = 2;
  import_model(kFixtures + "gpt2", options, folder / "other");
  EXPECT_NE(read_file(folder / "other/model.safetensors"), read_file(folder / "gpt2/model.safetensors"));
}

TEST(Import, CopiesTheTokenizerAndOtherCommandsReadIt) {
  const TempFolder folder;
  fs::copy(kFixtures + "llama_biases", folder / "hf");
  fs::copy(WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/smollm.json", folder / "hf/tokenizer.json");
  Json config = Json::parse(read_file(folder / "hf/config.json"));
  config["vocab_size"] = 480;
  // The table grown to the tokenizer's vocabulary, as f32.
  const SafetensorsFile source = SafetensorsFile::open(folder / "hf/model.safetensors");
  NamedTensors tensors;
  for (const std::string& name : source.names())
    tensors.emplace_back(name, source.tensor(name).to(Stream{}, DType::kF32));
  for (auto& [name, tensor] : tensors) {
    if (name == "model.embed_tokens.weight") {
      std::vector<float> rows;
      while (rows.size() < 480 * 8) rows.push_back(std::sin(static_cast<float>(rows.size())));
      tensor = Tensor::from<float>({480, 8}, rows);
    }
  }
  write_safetensors(folder / "hf/model.safetensors", tensors);
  write_file(folder / "hf/config.json", config.dump());
  write_file(
      folder / "hf/tokenizer_config.json",
      R"({"chat_template": "{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>\n{% endfor %})"
      R"({{ '<|im_start|>assistant\n' }}"})");
  const ProgramResult made = run_program("import " + (folder / "hf") + " " + (folder / "out/") +
                                         " --segment-size 4 --num-mem-tokens 2 --d-mem 4");
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.err, "");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_EQ(read_file(folder / (std::string("out/") + name)), read_file(folder / (std::string("hf/") + name)));
  }
  EXPECT_EQ(run_program("info " + (folder / "out")).code, 0);
  for (const std::string& model : {folder / "hf", folder / "out"}) {
    const ProgramResult chat =
        run_program("generate " + model + " --chat --prompt 'Where is Mary?' --max-new-tokens 3");
    EXPECT_EQ(chat.code, 0) << chat.err;
  }
  // Chat is the prompt in its template.
  const std::string common = "generate " + (folder / "out") + " --max-new-tokens 6 --ignore-eos --prompt ";
  EXPECT_EQ(run_program(common + "Mary --chat --system Hi").out,
            run_program(common + "$'<|im_start|>system\\nHi<|im_end|>\\n<|im_start|>user\\nMary<|im_end|>\\n"
                                 "<|im_start|>assistant\\n'")
                .out);
  // What a template says of a chat is the user's to read.
  write_file(
      folder / "out/tokenizer_config.json",
      R"({"chat_template": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"})");
  const ProgramResult other = run_program(common + "Mary --chat --system x");
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("chat_template:1: the template refuses this chat: no system"), std::string::npos)
      << other.err;
  fs::remove(folder / "out/tokenizer_config.json");
  const ProgramResult none = run_program(common + "Mary --chat");
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("no chat template there"), std::string::npos) << none.err;
  EXPECT_EQ(run_program(common + "Mary --system x").code, 2);
  EXPECT_EQ(run_program("generate " + (folder / "out") + " --max-new-tokens 1 --input-ids 1 --chat").code, 2);

  const ProgramResult twice = run_program("import " + (folder / "hf") + " " + (folder / "out") +
                                          " --segment-size 4 --num-mem-tokens 2 --d-mem 4");
  EXPECT_EQ(twice.code, 2);
  EXPECT_NE(twice.err.find("exists already"), std::string::npos);
}

class ImportRefuses : public testing::Test {
 protected:
  // The fixture with its config.json patched must be refused, and leave nothing behind.
  void expect(const std::string& fixture, const std::string& patch, const std::string& message) {
    const std::string source = folder_ / "hf";
    fs::remove_all(source);
    fs::copy(kFixtures + fixture, source);
    Json config = Json::parse(read_file(source + "/config.json"));
    config.merge_patch(Json::parse(patch));
    write_file(source + "/config.json", config.dump());
    refused(source, message);
  }
  void refused(const std::string& source, const std::string& message) {
    ImportOptions options;
    options.armt.segment_size = 8;
    options.armt.num_mem_tokens = 2;
    options.armt.d_mem = 4;
    EXPECT_ERROR(import_model(source, options, folder_ / "out"), Error, message);
    EXPECT_FALSE(fs::exists(folder_ / "out") || folder_.num_hidden() > 0);
  }
  TempFolder folder_;
};

TEST_F(ImportRefuses, WhatTheConfigAsksForAndIsNotSupported) {
  expect("llama_biases", R"({"model_type": "mistral"})", "model_type: is \"mistral\", expected llama or gpt2");
  expect("llama_biases", R"({"sliding_window": 4096})", "sliding_window: is 4096");
  expect("llama_biases", R"({"pretraining_tp": 2})", "pretraining_tp: is 2, expected 1");
  expect("llama_biases", R"({"quantization_config": {"bits": 4}})", "quantization_config: is an object");
  expect("llama_linear", R"({"rope_parameters": {"rope_type": "yarn"}})", "rope_parameters.rope_type: is \"yarn\"");
  expect("llama_biases", R"({"auto_map": {"AutoModel": "x"}})", "auto_map: is an object");
}

TEST_F(ImportRefuses, WeightsThatAreNotThoseOfTheConfig) {
  expect("llama_biases", R"({"mlp_bias": false})", "mlp.down_proj.bias is not part of this llama; check config.json");
  expect("llama_linear", R"({"attention_bias": true})", "tensor model.layers.0.self_attn.q_proj.bias is missing");
  expect("llama_linear", R"({"tie_word_embeddings": false})", "tensor lm_head.weight is missing");
  expect("llama_linear", R"({"num_hidden_layers": 3})", "tensor model.layers.2.input_layernorm.weight is missing");
  expect("llama_linear", R"({"num_hidden_layers": 1})", "model.layers.1.");
  expect("llama_linear", R"({"vocab_size": 25})",
         "tensor model.embed_tokens.weight is [24,8], config.json says [25,8]");
  expect("llama_linear", R"({"intermediate_size": 13})", "is [12,8], the config expects [13,8]");
}

TEST_F(ImportRefuses, FilesThatAreNotThere) {
  fs::copy(kFixtures + "llama_sharded", folder_ / "parts");
  fs::remove(folder_ / "parts/model-00002-of-00004.safetensors");
  refused(folder_ / "parts", "model-00002-of-00004.safetensors: No such file");
  fs::create_directory(folder_ / "bin");
  fs::copy(kFixtures + "gpt2/config.json", folder_ / "bin");
  write_file(folder_ / "bin/pytorch_model.bin", "x");
  ImportOptions options;
  options.armt = {8, 2, 4};
  EXPECT_ERROR(import_model(folder_ / "bin", options, folder_ / "out"), UsageError,
               "save pytorch_model.bin as safetensors from Python first");
  options.armt.segment_size = 33;
  EXPECT_ERROR(import_model(kFixtures + "gpt2", options, folder_ / "out"), UsageError, "/gpt2/config.json has 32 rows");
  options.armt.segment_size = 8;
  import_model(kFixtures + "gpt2", options, folder_ / "out");
  EXPECT_ERROR(import_model(folder_ / "out", options, folder_ / "out2"), UsageError, "is wrapped in a memory already");
}

TEST(Import, RoundsToHalfAsIeeeHasIt) {
  const TempFolder folder;
  const std::vector<float> values{0,          -0.0f,      1,        65504,        65519.99f,
                                  65520,      1e30f,      0x1p-24f, 0x1p-25f,     0x1.8p-24f,
                                  0x1.002p0f, 0x1.006p0f, 0x1p-14f, 0x1.ff8p-15f, -3.14159f};
  const std::vector<float> expected{0, -0.0f,    1, 65504,      65504,    INFINITY,     INFINITY,  0x1p-24f,
                                    0, 0x1p-23f, 1, 0x1.008p0f, 0x1p-14f, 0x1.ff8p-15f, -3.140625f};
  const StoredTensor stored = stored_as("w", "F16", Tensor::from<float>({15}, values));
  write_stored_tensors(folder / "half.safetensors", {stored});
  const SafetensorsFile file = SafetensorsFile::open(folder / "half.safetensors");
  EXPECT_EQ(file.stored_dtype("w"), "F16");
  EXPECT_EQ(file.tensor("w").to_vector<float>(), expected);
  // Every half comes back as it was.
  std::vector<float> all;
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float magnitude =
        bits < 0x400 ? static_cast<float>(bits) * 0x1p-24f
                     : std::ldexp(static_cast<float>(0x400 + (bits & 0x3ff)), static_cast<int>(bits >> 10) - 25);
    all.push_back(magnitude);
    all.push_back(-magnitude);
  }
  write_stored_tensors(folder / "all.safetensors",
                       {stored_as("w", "F16", Tensor::from<float>({static_cast<std::int64_t>(all.size())}, all))});
  EXPECT_EQ(SafetensorsFile::open(folder / "all.safetensors").tensor("w").to_vector<float>(), all);
  write_stored_tensors(folder / "nan.safetensors", {stored_as("w", "F16", Tensor::from<float>({1}, {NAN}))});
  EXPECT_TRUE(std::isnan(SafetensorsFile::open(folder / "nan.safetensors").tensor("w").to_vector<float>()[0]));
  EXPECT_ERROR(stored_as("w", "I8", Tensor::from<float>({1}, {1})), Error, "tensor w: cannot be stored as I8");
}

}  // namespace
}  // namespace wt
