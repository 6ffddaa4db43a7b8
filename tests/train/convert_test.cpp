// Checkpoints of the published wrapper to ours and back; adapters merged (tests/fixtures/import/make_models.py has them
// made by PEFT).
#include "train/models/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tolerances.h"
#include "train/models/import.h"
#include "train/models/model_config_json.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

const std::string kFixtures = WAVETAPE_SOURCE_DIR "/tests/fixtures/import/";

std::vector<double> numbers(const Tensor& tensor) {
  return tensor.to(Stream{}, DType::kF64).to_vector<double>();
}

std::map<std::string, std::string> bytes_of(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::map<std::string, std::string> all;
  for (const std::string& name : file.names()) all[name] = file.stored(name).bytes;
  return all;
}

ProgramResult forward(const std::string& model, const std::string& input, const std::string& output) {
  return run_program("forward " + model + " --input " + input + " --output " + output + " --dtype f64");
}

ConvertOptions lora_options() {
  ConvertOptions options;
  options.segment_size = 16;
  options.lora.alpha = 12;
  return options;
}

TEST(Convert, MergesThePublishedWrappersAdapters) {
  for (const std::string name : {"lora_llama", "lora_gpt2"}) {
    const TempFolder folder;
    const std::string expected = kFixtures + name + "/expected.safetensors";
    const ProgramResult made = run_program("convert " + kFixtures + name + "/model.safetensors " + (folder / "ours") +
                                           " --segment-size 16 --nu 2 --lora-alpha 12");
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_NE(made.out.find(name == "lora_llama" ? "6 adapters merged" : "4 adapters merged"), std::string::npos)
        << made.out;
    const ModelConfig config = read_model_config(folder / "ours");
    EXPECT_EQ(config.armt->num_mem_tokens, 3);
    EXPECT_EQ(config.armt->d_mem, 4);
    EXPECT_EQ(config.armt->nu, 2);
    const ProgramResult ran = forward(folder / "ours", expected, folder / "out.safetensors");
    ASSERT_EQ(ran.code, 0) << ran.err;
    const std::vector<double> got = numbers(SafetensorsFile::open(folder / "out.safetensors").tensor("logits"));
    const std::vector<double> want = numbers(SafetensorsFile::open(expected).tensor("logits"));
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], kGoldenLogitsF32) << name;
  }
}

TEST(Convert, AdapterConfigGivesTheScale) {
  const TempFolder folder;
  convert_model(kFixtures + "lora_llama", lora_options(), folder / "flag");
  fs::copy(kFixtures + "lora_llama", folder / "source");
  ConvertOptions options = lora_options();
  options.lora.alpha.reset();
  EXPECT_ERROR(convert_model(folder / "source", options, folder / "x"), UsageError,
               "holds LoRA adapters of rank 3, and no adapter_config.json beside it tells their scale");
  write_file(folder / "source/adapter_config.json", R"({"lora_alpha": 12, "r": 3})");
  convert_model(folder / "source", options, folder / "config");
  EXPECT_EQ(bytes_of(folder / "config/model.safetensors"), bytes_of(folder / "flag/model.safetensors"));
  // alpha / √r: 12 / √3 is 4 √3, so an alpha of 12 / √3 gives the factor of plain LoRA.
  options.lora.alpha = 12 / std::sqrt(3.0);
  options.lora.rank_stabilized = true;
  convert_model(folder / "source", options, folder / "stabilized");
  const std::string q = "memory_cell.model.model.layers.1.layer.self_attn.q_proj.weight";
  const std::vector<double> a = numbers(SafetensorsFile::open(folder / "flag/model.safetensors").tensor(q));
  const std::vector<double> b = numbers(SafetensorsFile::open(folder / "stabilized/model.safetensors").tensor(q));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6);

  options = lora_options();
  options.lora.alpha.reset();
  for (const auto& [text, message] : std::map<std::string, std::string>{
           {R"({"lora_alpha": 12, "use_dora": true})", "use_dora is not supported"},
           {R"({"lora_alpha": 12, "alpha_pattern": {"q_proj": 4}})", "alpha_pattern is not supported"},
           {R"({"r": 3})", "expected a JSON object with the number lora_alpha"}}) {
    write_file(folder / "source/adapter_config.json", text);
    EXPECT_ERROR(convert_model(folder / "source", options, folder / "x"), Error, message);
  }
}

// Writes the fixture's tensors with some more, or some renamed.
void rewrite(const std::string& from, const std::string& to,
             const std::function<std::vector<std::string>(const std::string&)>& names) {
  const SafetensorsFile file = SafetensorsFile::open(from);
  std::vector<StoredTensor> tensors;
  for (const std::string& name : file.names()) {
    for (const std::string& other : names(name)) {
      tensors.push_back(file.stored(name));
      tensors.back().name = other;
    }
  }
  write_stored_tensors(to, tensors);
}

TEST(Convert, EveryNamingLeadsToTheSameFile) {
  const TempFolder folder;
  const std::string source = kFixtures + "lora_llama/";
  const auto converted = [&](const std::string& name, const auto& rename) {
    fs::create_directory(folder / name);
    fs::copy(source + "config.json", folder / name);
    rewrite(source + "model.safetensors", folder / (name + "/model.safetensors"), rename);
    convert_model(folder / name, lora_options(), folder / (name + "_out"));
    return bytes_of(folder / (name + "_out/model.safetensors"));
  };
  const auto replaced = [](std::string name, const std::string& from, const std::string& to) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
    return name;
  };
  using Names = std::vector<std::string>;
  const auto plain = converted("plain", [](const std::string& name) { return Names{name}; });
  EXPECT_EQ(plain.size(), 32u);
  EXPECT_EQ(plain.count("memory_cell.model.model.layers.0.layer.mlp.down_proj.weight"), 1u);
  // The layers' other path, below PEFT's wrapper; and both at once.
  const auto other_path = [&](const std::string& name) {
    return replaced(name, "memory_cell.layers.", "memory_cell.model.base_model.model.model.layers.");
  };
  EXPECT_EQ(converted("path", [&](const std::string& name) { return Names{other_path(name)}; }), plain);
  EXPECT_EQ(converted("both",
                      [&](const std::string& name) {
                        return other_path(name) == name ? Names{name} : Names{name, other_path(name)};
                      }),
            plain);
  // PEFT around the whole wrapper, and an adapter file's names.
  EXPECT_EQ(converted("outer",
                      [&](const std::string& name) {
                        return Names{"base_model.model." + replaced(name, ".default.weight", ".weight")};
                      }),
            plain);
  // A head that was trained as a whole: its trained copy counts, not the original.
  EXPECT_EQ(converted("saved",
                      [&](const std::string& name) {
                        if (name.find("lm_head") == std::string::npos) return Names{name};
                        return Names{replaced(name, "lm_head.", "lm_head.modules_to_save.default."),
                                     replaced(name, "lm_head.", "lm_head.original_module.")};
                      }),
            plain);
}

TEST(Convert, ThereAndBack) {
  for (const std::string name : {"llama_biases", "llama_sharded", "gpt2"}) {
    const TempFolder folder;
    ImportOptions import;
    import.armt.segment_size = 8;
    import.armt.num_mem_tokens = 2;
    import.armt.d_mem = 4;
    import_model(kFixtures + name, import, folder / "ours");
    const bool gpt2 = name == "gpt2", tied = name != "llama_sharded";
    const auto ours = bytes_of(folder / "ours/model.safetensors");
    for (const WeightNames names : {WeightNames::kLayers, WeightNames::kBoth}) {
      ConvertOptions options;
      options.names = names;
      const std::string published = folder / (names == WeightNames::kBoth ? "both" : "layers");
      const ConvertReport report = convert_model(folder / "ours", options, published);
      EXPECT_EQ(report.merged, 0);
      const auto there = bytes_of(published + "/model.safetensors");
      EXPECT_EQ(there.size(), static_cast<std::size_t>(report.tensors));
      const std::string first = "memory_cell.layers.1.layer.";
      const std::string own =
          gpt2 ? "memory_cell.model.transformer.h.1.layer." : "memory_cell.model.model.layers.1.layer.";
      const std::string weight = gpt2 ? "attn.c_attn.weight" : "self_attn.q_proj.weight";
      EXPECT_EQ(there.at(first + weight), ours.at(own + weight));
      EXPECT_EQ(there.count(own + weight), names == WeightNames::kBoth ? 1u : 0u);
      EXPECT_EQ(there.count("memory_cell.model.lm_head.weight"), !tied || names == WeightNames::kBoth ? 1u : 0u);
      // The published code makes its backbone of config.json; ours says what the model is.
      EXPECT_EQ(nlohmann::json::parse(read_file(published + "/config.json"))["model_type"], gpt2 ? "gpt2" : "llama");
      EXPECT_FALSE(fs::exists(published + "/modeling_wavetape.py"));
      convert_model(published, {}, published + "_back");
      EXPECT_EQ(nlohmann::json::parse(read_file(published + "_back/config.json")),
                nlohmann::json::parse(read_file(folder / "ours/config.json")));
      EXPECT_TRUE(fs::exists(published + "_back/modeling_wavetape.py"));
      EXPECT_EQ(read_file(published + "_back/model.safetensors"), read_file(folder / "ours/model.safetensors"));
      EXPECT_TRUE(read_model_config(published + "_back") == read_model_config(folder / "ours"));
      // Every command reads either.
      const std::string input = kFixtures + name + "/expected.safetensors";
      for (const std::string& model : {std::string(folder / "ours"), published}) {
        EXPECT_EQ(forward(model, input, model + "/out.safetensors").code, 0);
      }
      EXPECT_EQ(read_file(published + "/out.safetensors"), read_file(folder / "ours/out.safetensors"));
    }
  }
}

TEST(Convert, ATiedTableMayBeCalledHead) {
  const TempFolder folder;
  fs::create_directory(folder / "head");
  fs::copy(kFixtures + "llama_biases/config.json", folder / "head");
  rewrite(kFixtures + "llama_biases/model.safetensors", folder / "head/model.safetensors", [](const std::string& name) {
    return std::vector<std::string>{name == "model.embed_tokens.weight" ? "lm_head.weight" : name};
  });
  const std::string input = kFixtures + "llama_biases/expected.safetensors";
  ASSERT_EQ(forward(folder / "head", input, folder / "head.safetensors").code, 0);
  ASSERT_EQ(forward(kFixtures + "llama_biases", input, folder / "table.safetensors").code, 0);
  EXPECT_EQ(read_file(folder / "head.safetensors"), read_file(folder / "table.safetensors"));
}

TEST(Convert, WhatDoesNotFitIsNamed) {
  const TempFolder folder;
  const std::string out = folder / "out", lora = kFixtures + "lora_llama";
  const auto expect_usage = [&](const std::string& source, const ConvertOptions& options, const std::string& message) {
    EXPECT_ERROR(convert_model(source, options, out), UsageError, message);
  };
  expect_usage(folder / "none", {}, "none: no such file or folder");
  expect_usage(folder.path(), {}, "no model.safetensors there");
  expect_usage(lora, {}, "no armt object; give --segment-size");
  fs::copy(lora + "/model.safetensors", folder / "alone.safetensors");
  expect_usage(folder / "alone.safetensors", lora_options(), "no config.json there; give the backbone's with --config");
  ConvertOptions options = lora_options();
  options.config = lora + "/config.json";
  convert_model(folder / "alone.safetensors", options, folder / "made");
  expect_usage(folder / "made", lora_options(), "--segment-size: ");
  EXPECT_ERROR(convert_model(kFixtures + "llama_biases", lora_options(), out), Error,
               "no tensor memory_cell.memory, expected a checkpoint of ARMT");

  const auto expect = [&](const std::function<std::string(const std::string&)>& rename, const std::string& message) {
    fs::create_directories(folder / "bad");
    rewrite(lora + "/model.safetensors", folder / "bad/model.safetensors",
            [&](const std::string& name) { return std::vector<std::string>{rename(name)}; });
    ConvertOptions bad = lora_options();
    bad.config = lora + "/config.json";
    EXPECT_ERROR(convert_model(folder / "bad", bad, out), Error, message);
    EXPECT_FALSE(fs::exists(out) || folder.num_hidden() > 0);
  };
  const auto swap = [](const std::string& from, const std::string& to) {
    return [from, to](std::string name) {
      if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
      return name;
    };
  };
  expect(swap("0.layer.self_attn.q_proj.lora_A", "0.layer.self_attn.q_proj.lora_magnitude_vector"), "is no plain LoRA");
  expect(swap("0.layer.self_attn.q_proj.lora_A", "0.layer.self_attn.k_proj.lora_A"), "is there without its lora_");
  expect(swap("0.layer.self_attn.q_proj.lora_", "0.layer.self_attn.z_proj.lora_"),
         "z_proj.weight, which is not part of");
  expect(swap("0.layer.self_attn.q_proj.lora_", "0.layer.self_attn.k_proj.lora_"), "the weight [4,8]");
  expect(swap("0.W_mb.bias", "0.W_mb.bias2"), "W_mb.bias is missing");
  expect(swap("model.norm.weight", "model.extra.weight"), "model.norm.weight is missing");

  // Other commands send adapters here.
  fs::copy(lora, folder / "model");
  const ProgramResult result = run_program("forward " + (folder / "model") + " --input " + lora +
                                           "/expected.safetensors --output " + (folder / "x"));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("merge them with it: wavetape convert"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace wt
