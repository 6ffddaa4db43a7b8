// Training with adapters and frozen weights, through the program: what changes, what a checkpoint holds, resumption,
// both kinds of export.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"
#include "train/run/checkpoint.h"
#include "train/run/freeze.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

std::string config_text(const std::string& run, const std::string& model, const std::string& train = "") {
  return cat("seed: {weights: 3, data: 5, dropout: 7}\nrun: {dir: ", run, ", device: cpu, threads: 1}\n", "model:\n",
             model, "data:\n  books: none\n  tokenizer: ", WAVETAPE_SOURCE_DIR,
             "/data/tokenizer/tokenizer.json\n  max_facts: 6\n", "train:\n  batch_size: 3\n", train,
             "  validate_every: 5\n  validation_samples: 6\n  checkpoint_every: 4\n",
             "  stages:\n    - {segments: 2, steps: 10, lr: 1e-2}\n    - {segments: 3, steps: 6, lr: 1e-2}\n");
}

const std::string kSizes =
    "  hidden_size: 16\n  intermediate_size: 24\n  num_layers: 2\n  num_heads: 2\n"
    "  armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4, nu: 3}\n";
const std::string kLora = "  lora: {rank: 2, alpha: 6, dropout: 0.1, targets: [q_proj, v_proj, down_proj]}\n";

std::map<std::string, std::string> bytes_of(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::map<std::string, std::string> all;
  for (const std::string& name : file.names()) all[name] = std::string(file.stored(name).bytes);
  return all;
}

std::string last_checkpoint(const std::string& run) {
  const CheckpointStore store(run, StoreMode::kRead);
  return store.folder_of(store.steps().back());
}

void train(const std::string& arguments) {
  const ProgramResult result = run_program("train " + arguments + " --no-eval");
  ASSERT_EQ(result.code, 0) << result.err;
}

TEST(LoraTraining, ChangesAdaptersAndMemoryOnly) {
  const TempFolder folder;
  write_file(folder / "base.yaml", config_text(folder / "base", kSizes));
  train(folder / "base.yaml");
  write_file(folder / "lora.yaml", config_text(folder / "run", cat("  from: ", folder / "base", "\n", kLora)));
  train(folder / "lora.yaml");

  const auto before = bytes_of(find_model(folder / "base").weights);
  const auto frozen = bytes_of(folder / "run/checkpoints/base.safetensors");
  const auto trained = bytes_of(last_checkpoint(folder / "run") + "/weights.safetensors");
  int adapters = 0, memory = 0;
  for (const auto& [name, bytes] : trained) {
    const bool adapter = name.find(".lora_") != std::string::npos;
    const bool of_memory = name.starts_with("memory_cell.memory") || name.find(".W_m") != std::string::npos;
    EXPECT_TRUE(adapter != of_memory) << name;
    (adapter ? adapters : memory) += 1;
    EXPECT_EQ(frozen.count(name), 0u) << name;
    if (of_memory) {
      EXPECT_NE(bytes, before.at(name)) << name;
    }
  }
  EXPECT_EQ(adapters, 2 * 2 * 3);
  EXPECT_EQ(memory, 1 + 2 * 5);
  // Everything else stands in the base, as it was.
  EXPECT_EQ(frozen.size() + static_cast<std::size_t>(memory), before.size());
  for (const auto& [name, bytes] : frozen) EXPECT_EQ(bytes, before.at(name)) << name;
  // B has left zero.
  const std::string b = "memory_cell.model.model.layers.1.layer.mlp.down_proj.lora_B.weight";
  EXPECT_NE(trained.at(b), std::string(trained.at(b).size(), '\0'));
  // Moments of what trains only.
  EXPECT_EQ(bytes_of(last_checkpoint(folder / "run") + "/optimizer.safetensors").size(), 2 * trained.size());

  // A damaged base is noticed.
  std::string damaged = read_file(folder / "run/checkpoints/base.safetensors");
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  write_file(folder / "run/checkpoints/base.safetensors", damaged);
  EXPECT_ERROR(find_model(folder / "run"), Error, "base.safetensors: its length or checksum does not match");
}

TEST(LoraTraining, ResumesBitEqual) {
  const TempFolder folder;
  write_file(folder / "config.yaml",
             config_text(folder / "calm", kSizes + kLora, "  freeze: ['*.layers.0.*.W_mk.weight', '*.W_mb.*']\n"));
  ASSERT_NE(run_program("train " + folder / "config.yaml" + " --no-eval").code, 0);  // the first pattern is wrong
  fs::remove_all(folder / "calm");
  write_file(folder / "config.yaml",
             config_text(folder / "calm", kSizes + kLora, "  freeze: ['*.layers.0.W_mk.weight', '*.W_mb.*']\n"));
  train(folder / "config.yaml");
  const std::string run = folder / "stopped";
  train(cat(folder / "config.yaml", " run.dir=", run));
  // Back to an earlier checkpoint, and on again.
  const CheckpointStore store(run, StoreMode::kRead);
  fs::remove_all(store.folder_of(store.steps().back()));
  train(cat(folder / "config.yaml", " run.dir=", run, " --resume"));
  for (const char* file : {"/weights.safetensors", "/optimizer.safetensors"}) {
    EXPECT_EQ(read_file(last_checkpoint(folder / "calm") + file), read_file(last_checkpoint(run) + file)) << file;
  }
  // Layer 0's keys are frozen, layer 1's are not.
  const auto trained = bytes_of(last_checkpoint(run) + "/weights.safetensors");
  EXPECT_EQ(trained.count("memory_cell.model.model.layers.0.W_mk.weight"), 0u);
  EXPECT_EQ(trained.count("memory_cell.model.model.layers.1.W_mk.weight"), 1u);
  // A run whose settings have changed is not mixed up.
  const ProgramResult other =
      run_program(cat("train ", folder / "config.yaml", " run.dir=", run, " train.freeze=[] --resume --no-eval"));
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("train.freeze: is [], but the run was trained with"), std::string::npos) << other.err;
}

TEST(LoraTraining, ExportsMergedWeightsAndAdapters) {
  const TempFolder folder;
  write_file(folder / "config.yaml", config_text(folder / "run", kSizes + kLora));
  train(folder / "config.yaml");
  ASSERT_EQ(run_program("export " + folder / "run" + " " + folder / "merged").code, 0);
  const ProgramResult made =
      run_program("export " + folder / "run" + " " + folder / "peft" + " --adapters --base org/base");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_NE(made.out.find(": 6 adapters from "), std::string::npos) << made.out;

  const SafetensorsFile adapters = SafetensorsFile::open(folder / "peft/adapter_model.safetensors");
  const std::string q = "base_model.model.memory_cell.model.model.layers.1.layer.self_attn.q_proj.lora_";
  const std::string down = "base_model.model.memory_cell.model.model.layers.0.layer.mlp.down_proj.lora_";
  EXPECT_EQ(adapters.shape(q + "A.weight"), (Shape{2, 16}));
  EXPECT_EQ(adapters.shape(q + "B.weight"), (Shape{16, 2}));
  EXPECT_EQ(adapters.shape(down + "A.weight"), (Shape{2, 24}));
  EXPECT_EQ(adapters.shape(down + "B.weight"), (Shape{16, 2}));
  EXPECT_TRUE(adapters.contains("base_model.model.memory_cell.memory"));
  EXPECT_EQ(adapters.names().size(), 2u * 6 + 1 + 2 * 5);
  const auto json = nlohmann::json::parse(read_file(folder / "peft/adapter_config.json"));
  EXPECT_EQ(json.at("peft_type"), "LORA");
  EXPECT_EQ(json.at("r"), 2);
  EXPECT_EQ(json.at("lora_alpha"), 6);
  EXPECT_EQ(json.at("target_modules"), (std::vector<std::string>{"q_proj", "v_proj", "down_proj"}));
  EXPECT_EQ(json.at("modules_to_save"), (std::vector<std::string>{"W_mb", "W_mk", "W_mq", "W_mv"}));
  EXPECT_EQ(json.at("base_model_name_or_path"), "org/base");
  EXPECT_FALSE(json.at("fan_in_fan_out").get<bool>());
  EXPECT_FALSE(read_model_config(folder / "merged").lora);
  EXPECT_FALSE(read_model_config(folder / "peft").lora);

  // Base and adapters in one folder, merged by convert, are the merged export.
  const SafetensorsFile base = SafetensorsFile::open(folder / "run/checkpoints/base.safetensors");
  std::vector<StoredTensor> all;
  for (const SafetensorsFile* file : {&base, &adapters}) {
    for (const std::string& name : file->names()) all.push_back(file->stored(name));
  }
  fs::create_directory(folder / "both");
  write_stored_tensors(folder / "both/model.safetensors", all);
  fs::copy(folder / "peft/config.json", folder / "both");
  fs::copy(folder / "peft/adapter_config.json", folder / "both");
  const ProgramResult converted = run_program("convert " + folder / "both" + " " + folder / "converted");
  ASSERT_EQ(converted.code, 0) << converted.err;
  EXPECT_EQ(bytes_of(folder / "converted/model.safetensors"), bytes_of(folder / "merged/model.safetensors"));

  // So are the base's folder and the adapters'.
  fs::create_directory(folder / "base");
  fs::copy(folder / "run/checkpoints/base.safetensors", folder / "base/model.safetensors");
  fs::copy(folder / "peft/config.json", folder / "base");
  const ProgramResult together =
      run_program("convert " + folder / "peft" + " " + folder / "together" + " --base " + folder / "base");
  ASSERT_EQ(together.code, 0) << together.err;
  EXPECT_EQ(bytes_of(folder / "together/model.safetensors"), bytes_of(folder / "merged/model.safetensors"));
  EXPECT_EQ(read_file(folder / "together/config.json"), read_file(folder / "merged/config.json"));

  const ProgramResult none = run_program("export " + folder / "merged" + " " + folder / "x --adapters");
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("the model has no adapters (model.lora)"), std::string::npos) << none.err;
}

TEST(LoraTraining, WrongSettingsTeach) {
  const TempFolder folder;
  const auto refused = [&](const std::string& overrides, const std::string& message) {
    const ProgramResult result = run_program(cat("train ", folder / "config.yaml", " --dry-run ", overrides));
    EXPECT_EQ(result.code, 2) << overrides;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  write_file(folder / "config.yaml", config_text(folder / "run", kSizes + kLora));
  refused("'model.lora.targets=[]'", "model.lora.targets: is missing or empty, expected modules");
  refused("'model.lora.targets=[q_proj, vproj]'",
          "model.lora.targets.1: 'vproj' names no matrix of the blocks, did you mean v_proj?");
  refused("'train.freeze=[nothing.*]'", "train.freeze.0: 'nothing.*' matches none of the ");
  refused("'train.freeze=[\"*\"]'", "train.freeze.0: leaves nothing to train");
  refused("model.lora.rank=0", "model.lora.rank: is '0', expected a whole number from 1");
  const ProgramResult dry = run_program("train " + folder / "config.yaml" + " --dry-run");
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_NE(dry.out.find(" of them train\n"), std::string::npos) << dry.out;
}

TEST(Freezing, PartsOfAFusedMatrixAndSingleLayers) {
  ModelConfig config;
  config.vocab_size = 7;
  config.hidden_size = 8;
  config.num_layers = 2;
  config.attention().num_heads = 2;
  Model model(config, DType::kF64);
  const std::int64_t all = model.parameters().count();
  EXPECT_EQ(model.parameters().trainable_count(), all);
  freeze_parameters(model, {"*.k_proj.weight", "model.layers.0.mlp.*", "*embed_tokens*"},
                    [](std::size_t, const std::string& what) { throw Error(what); });
  int frozen = 0;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    const bool expected = tensor.name.ends_with("k_proj.weight") || tensor.name.starts_with("model.layers.0.mlp.") ||
                          tensor.name.find("embed_tokens") != std::string::npos;
    EXPECT_EQ(tensor.trainable, !expected) << tensor.name;
    frozen += expected ? 1 : 0;
  }
  EXPECT_EQ(frozen, 2 + 3 + 1);
  EXPECT_EQ(model.parameters().trainable_count(), all - 2 * 8 * 8 - 3 * 32 * 8 - 7 * 8);
  for (const auto& parameter : model.parameters().all()) {
    using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;
    if (parameter->spec().key == "layers.self_attn.qkv") {
      EXPECT_EQ(parameter->trainable_rows(), (Ranges{{0, 8}, {16, 32}, {40, 48}}));
    } else if (parameter->spec().key == "layers.mlp.down") {
      EXPECT_EQ(parameter->trainable_rows(), (Ranges{{8, 16}}));
    } else if (parameter->spec().key == "embed_tokens") {
      EXPECT_FALSE(parameter->trainable);
    }
  }
}

}  // namespace
}  // namespace wt
