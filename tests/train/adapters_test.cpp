// Folders that PEFT's save_pretrained() writes (tests/fixtures/import/make_adapters.py): adapters and modules trained
// whole, taken together with their base model.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tolerances.h"
#include "train/models/convert.h"
#include "train/models/import.h"
#include "train/models/lora.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kImport = WAVETAPE_SOURCE_DIR "/tests/fixtures/import/";

void expect_logits(const std::string& model, const std::string& expected) {
  const TempFolder folder;
  const ProgramResult ran = run_program("forward " + model + " --input " + expected + " --output " +
                                        (folder / "out.safetensors") + " --dtype f64");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto numbers = [](const std::string& path) {
    return SafetensorsFile::open(path).tensor("logits").to(Stream{}, DType::kF64).to_vector<double>();
  };
  const std::vector<double> got = numbers(folder / "out.safetensors"), want = numbers(expected);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], kGoldenLogitsF32) << model << ", " << i;
}

TEST(PeftFolder, EveryCommandTakesItWithItsBase) {
  for (const std::string name : {"peft_llama", "peft_gpt2"}) {
    const TempFolder folder;
    const std::string adapter = kImport + name + "/adapter", expected = kImport + name + "/expected.safetensors";
    expect_logits(adapter, expected);
    const ProgramResult converted = run_program("convert " + adapter + " " + (folder / "merged"));
    ASSERT_EQ(converted.code, 0) << converted.err;
    EXPECT_NE(converted.out.find(name == "peft_llama" ? "6 adapters merged" : "2 adapters merged"), std::string::npos)
        << converted.out;
    expect_logits(folder / "merged", expected);
    // A trained head beside a tied table, or a trained table beside the old head: two tensors from now on.
    EXPECT_FALSE(read_model_config(folder / "merged").tie_word_embeddings);
    const ProgramResult imported =
        run_program("import " + adapter + " " + (folder / "armt") + " --segment-size 16 --num-mem-tokens 2 --d-mem 4");
    ASSERT_EQ(imported.code, 0) << imported.err;
    expect_logits(folder / "armt", expected);
    // What a training starts from, wrapped in a memory; its steps are too small to show.
    write_file(folder / "config.yaml",
               cat("run: {dir: ", folder / "run", ", device: cpu}\nmodel: {from: ", adapter,
                   ", armt: {segment_size: 16, num_mem_tokens: 2, d_mem: 4}}\ndata: {task: associative_retrieval, "
                   "retrieval: {key_length: 1, value_length: 1, key_alphabet: abcd, value_alphabet: wxyz}}\n"
                   "train: {batch_size: 2, optimizer: {lr: 1e-12}, stages: [{segments: 1, steps: 1}]}\n"));
    const ProgramResult trained = run_program("train " + (folder / "config.yaml") + " --no-eval");
    ASSERT_EQ(trained.code, 0) << trained.err;
    ASSERT_EQ(run_program("export " + (folder / "run") + " " + (folder / "trained")).code, 0);
    expect_logits(folder / "trained", expected);
  }
}

TEST(PeftFolder, BaseModelsAreFoundOrAskedFor) {
  const TempFolder folder;
  fs::copy(kImport + "peft_llama/adapter", folder / "adapter");
  const auto patch = [&](const std::string& text) {
    Json config = Json::parse(read_file(kImport + "peft_llama/adapter/adapter_config.json"));
    config.merge_patch(Json::parse(text));
    write_file(folder / "adapter/adapter_config.json", config.dump());
  };
  const std::string expected = kImport + "peft_llama/expected.safetensors", adapter = folder / "adapter";
  patch(R"({"base_model_name_or_path": "meta-llama/Llama-3.2-1B"})");
  const ProgramResult asked = run_program("forward " + adapter + " --input " + expected + " --output x");
  EXPECT_EQ(asked.code, 2);
  EXPECT_NE(asked.err.find("adapters for the base model 'meta-llama/Llama-3.2-1B', which is no folder here; say where "
                           "it is: wavetape convert " +
                           adapter + " OUT_DIR --base DIR"),
            std::string::npos)
      << asked.err;
  const std::string base = kImport + "peft_llama/base";
  ASSERT_EQ(run_program("convert " + adapter + " " + (folder / "merged") + " --base " + base).code, 0);
  expect_logits(folder / "merged", expected);
  ASSERT_EQ(run_program("import " + adapter + " " + (folder / "armt") + " --base " + base +
                        " --segment-size 16 --num-mem-tokens 2 --d-mem 4")
                .code,
            0);
  expect_logits(folder / "armt", expected);
  EXPECT_ERROR(find_model(adapter, {}, folder / "none"), UsageError, "none: no such folder");
  EXPECT_ERROR(find_model(base, {}, base), UsageError, "is no folder of adapters");
  patch(R"({"base_model_name_or_path": null})");
  EXPECT_ERROR(find_model(adapter), UsageError, "adapters for a base model that it does not name");
  patch(R"({"base_model_name_or_path": "../adapter"})");
  EXPECT_ERROR(find_model(adapter), UsageError, "no config.json");
  // The base beside its adapters, in one folder.
  fs::copy(base + "/model.safetensors", adapter);
  fs::copy(base + "/config.json", adapter);
  expect_logits(adapter, expected);
  fs::remove(adapter + "/adapter_model.safetensors");
  fs::remove(adapter + "/model.safetensors");
  write_file(adapter + "/adapter_model.bin", "x");
  EXPECT_ERROR(find_model(adapter), UsageError, "save adapter_model.bin as safetensors from Python first");
}

TEST(PeftFolder, WhatIsNotPlainLoraIsRefused) {
  const TempFolder folder;
  const auto refused = [&](const std::string& patch, const std::string& message) {
    Json config = Json::parse(read_file(kImport + "peft_llama/adapter/adapter_config.json"));
    config.merge_patch(Json::parse(patch));
    write_file(folder / "c.json", config.dump());
    EXPECT_ERROR(read_adapter_config(folder / "c.json"), Error, message);
  };
  refused(R"({"peft_type": "IA3"})", "peft_type is IA3, expected LORA");
  refused(R"({"use_dora": true})", "use_dora is not supported");
  refused(R"({"alpha_pattern": {"q_proj": 4}})", "alpha_pattern is not supported");
  refused(R"({"layer_replication": [[0, 2]]})", "layer_replication is not supported");
  refused(R"({"trainable_token_indices": [1]})", "trainable_token_indices is not supported");
  refused(R"({"init_lora_weights": "pissa_niter_4"})", "init_lora_weights is pissa_niter_4");
  refused(R"({"lora_alpha": "much"})", "the number lora_alpha");
  // A tensor that is neither adapter nor part of the model is named.
  fs::copy(kImport + "peft_llama", folder / "peft", fs::copy_options::recursive);
  const SafetensorsFile file = SafetensorsFile::open(kImport + "peft_llama/adapter/adapter_model.safetensors");
  const auto with = [&](const std::string& name) {
    std::vector<StoredTensor> tensors;
    for (const std::string& own : file.names()) tensors.push_back(file.stored(own));
    tensors.push_back(stored_as(name, "F32", Tensor::from<float>({1}, {1})));
    write_stored_tensors(folder / "peft/adapter/adapter_model.safetensors", tensors);
  };
  const std::string module = "base_model.model.model.layers.0.self_attn.q_proj.";
  for (const std::string name : {"base_model.model.score.weight", "base_model.model.prompt_embeddings"}) {
    with(name);
    EXPECT_ERROR(load_model(find_model(folder / "peft/adapter"), DType::kF32), Error, name + " is not part of");
  }
  for (const std::string part : {"lora_magnitude_vector.weight", "lora_B.bias", "lora_embedding_A"}) {
    with(module + part);
    EXPECT_ERROR(load_model(find_model(folder / "peft/adapter"), DType::kF32), Error, "is no plain LoRA");
  }
  // Nothing is not merged in silence.
  write_stored_tensors(folder / "peft/adapter/adapter_model.safetensors", {});
  EXPECT_ERROR(load_model(find_model(folder / "peft/adapter"), DType::kF32), Error,
               "holds no tensors, expected adapters");
}

TEST(PeftFolder, BaseAndAdaptersInOneFile) {
  const TempFolder folder;
  const std::string source = kImport + "peft_llama/", expected = source + "expected.safetensors";
  fs::create_directory(folder / "whole");
  fs::copy(source + "base/config.json", folder / "whole");
  fs::copy(source + "whole.safetensors", folder / "whole/model.safetensors");
  const ProgramResult asked = run_program("forward " + (folder / "whole") + " --input " + expected + " --output x");
  EXPECT_EQ(asked.code, 2);
  const std::string hint = "wavetape convert " + (folder / "whole/model.safetensors") + " OUT_DIR --lora-alpha ALPHA";
  EXPECT_NE(asked.err.find("holds LoRA adapters of rank 3, and no adapter_config.json beside it tells their scale; "
                           "merge them with it: " +
                           hint),
            std::string::npos)
      << asked.err;
  // The hint is true.
  const ProgramResult merged =
      run_program("convert " + (folder / "whole/model.safetensors") + " " + (folder / "merged") + " --lora-alpha 12");
  ASSERT_EQ(merged.code, 0) << merged.err;
  expect_logits(folder / "merged", expected);
  // With the scale beside it, every command reads it.
  fs::copy(source + "adapter/adapter_config.json", folder / "whole");
  expect_logits(folder / "whole", expected);
  // What a trained head was before must not count, and not be all there is.
  const SafetensorsFile file = SafetensorsFile::open(folder / "whole/model.safetensors");
  std::vector<StoredTensor> tensors;
  for (const std::string& name : file.names()) {
    if (name.find(".modules_to_save.") == std::string::npos) tensors.push_back(file.stored(name));
  }
  write_stored_tensors(folder / "whole/half.safetensors", tensors);
  fs::rename(folder / "whole/half.safetensors", folder / "whole/model.safetensors");
  EXPECT_ERROR(load_model(find_model(folder / "whole"), DType::kF32), Error,
               "lm_head.original_module.weight is there without");
}

}  // namespace
}  // namespace wt
