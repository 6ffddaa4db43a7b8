// Where a model's files are: Hugging Face style folders (config.json, model.safetensors, tokenizer.json), folders of
// PEFT adapters, and run folders.
#pragma once

#include <functional>
#include <string>

namespace wt {

// What a path given as MODEL_DIR or RUN_DIR leads to.
struct ModelLocation {
  std::string config;        // config.json
  std::string weights;       // model.safetensors, weights.safetensors or model.safetensors.index.json
  std::string tokenizer;     // tokenizer.json, or the folder; empty where there is none
  std::string base = {};     // of a run: the weights that it keeps frozen, the others being in `weights`; may be empty
  std::string adapter = {};  // adapter_model.safetensors, to be merged into these weights; may be empty
};

// Whether PEFT's save_pretrained() has been here.
bool is_adapter_folder(const std::string& path);

// A folder with config.json and weights, a folder of PEFT adapters, whose base model is the folder `adapter_base` or,
// where that is empty, its own model.safetensors or the folder that its adapter_config.json names, or a run folder,
// whose best checkpoint is meant (`report` hears of damaged ones). Throws UsageError where it is none of these, or the
// base model is not found.
ModelLocation find_model(const std::string& path, const std::function<void(const std::string&)>& report = {},
                         const std::string& adapter_base = "");

// The tokenizer of a folder: its tokenizer.json, or itself where it has vocab.json and merges.txt, or "".
std::string tokenizer_in(const std::string& folder);

// Copies what belongs to a model beside config and weights (tokenizer, chat template, generation defaults), the
// adapter's own in place of its base's.
void copy_side_files_of(const ModelLocation& location, const std::string& to);

}  // namespace wt
