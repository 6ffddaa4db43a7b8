// Models as files: Hugging Face style folders (config.json, model.safetensors, tokenizer.json) and run folders.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/safetensors.h"
#include "layers/model.h"

namespace wt {

// What a path given as MODEL_DIR or RUN_DIR leads to.
struct ModelLocation {
  std::string config;     // config.json
  std::string weights;    // model.safetensors, weights.safetensors or model.safetensors.index.json
  std::string tokenizer;  // tokenizer.json, or the folder; empty where there is none
  std::string base = {};  // of a run: the weights that it keeps frozen, the others being in `weights`; may be empty
};
// A folder with config.json and weights, or a run folder, whose best checkpoint is meant (`report` hears of damaged
// ones). Throws UsageError where it is neither.
ModelLocation find_model(const std::string& path, const std::function<void(const std::string&)>& report = {});

// The tokenizer of a folder: its tokenizer.json, or itself where it has vocab.json and merges.txt, or "".
std::string tokenizer_in(const std::string& folder);

// The device that a command's --device names; "auto" with f64 is the CPU, since GPUs run f32 and bf16.
Device device_for(const std::string& name, DType dtype);

// What a device computes in where `dtype` was asked for: a CPU computes bf16 in f32.
DType computing_dtype(const Device& device, DType dtype);

// The model of a folder, to compute in `dtype` on the stream's device. On the CPU bf16 rounds the weights to bf16 and
// computes in f32; on CUDA f64 is a UsageError. Adapters of a run are merged: there is nothing left to drop or train,
// and the sum costs a token nothing. Throws Error naming the file and tensor that is missing, unknown or of
// another shape.
std::unique_ptr<Model> load_model(const ModelLocation& location, DType dtype, const Stream& stream = {},
                                  WeightUse use = WeightUse::kInference);

// Whether load_weights() will find every parameter in its shape, without making the model: a damaged config.json may
// ask for more than fits in memory. Throws Error as load_weights() does.
void check_weights(const ModelConfig& config, const ModelLocation& location, bool fresh_memory = false);

// Copies every parameter from a file, or from the parts of an index, under any name of weight_map.h; a head that is
// tied may be there or not. `fresh_memory`: parameters of the memory that are not in the file keep the values they have
// (wrapping a plain backbone). A run's adapters are merged; those of the model itself keep the values they have.
void load_weights(Model& model, const ModelLocation& location, bool fresh_memory = false);

// Those published tensors that train, or those that do not, from a file that holds just these under their own names.
// Throws Error for one that is missing, superfluous or of another shape.
void load_tensors(Model& model, const SafetensorsFile& file, bool trainable);

// Every parameter under its published name.
NamedTensors published_weights(const Model& model);
// The same for those that train, or those that do not.
NamedTensors published_weights(const Model& model, bool trainable);

// Writes config.json, model.safetensors and, from `tokenizer` (a file or folder, may be empty), the tokenizer's files
// into a new folder, whole or not at all. Throws UsageError where the folder exists.
void export_model(const Model& model, const std::string& tokenizer, const std::string& folder);

}  // namespace wt
