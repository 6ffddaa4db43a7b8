// Models into memory and out of it: the folders of model_location.h.
#pragma once

#include <memory>
#include <string>

#include "core/safetensors.h"
#include "layers/model.h"
#include "train/models/model_location.h"

namespace wt {

// The device that a command's --device names; "auto" with f64 is the CPU, since GPUs run f32 and bf16.
Device device_for(const std::string& name, DType dtype);

// What a device computes in where `dtype` was asked for: a CPU computes bf16 in f32.
DType computing_dtype(const Device& device, DType dtype);

// How a model reads texts, where it is not to be as its folder says.
struct ReadingOptions {
  std::int64_t segment_size = 0;  // tokens of a segment (families/family.h: set_segment_size); 0: as it says
  bool passes_state = true;       // Mamba2Config::passes_state; without it segments are of chunk_size tokens
};
// Throws UsageError for what does not go with the model.
void apply(const ReadingOptions& options, ModelConfig& config);

// The model of a folder, to compute in `dtype` on the stream's device. On the CPU bf16 rounds the weights to bf16 and
// computes in f32; on CUDA f64 is a UsageError. Adapters of a run are merged: there is nothing left to drop or train,
// and the sum costs a token nothing. Throws Error naming the file and tensor that is missing, unknown or of
// another shape.
std::unique_ptr<Model> load_model(const ModelLocation& location, DType dtype, const Stream& stream = {},
                                  WeightUse use = WeightUse::kInference, const ReadingOptions& reading = {});

// Whether load_weights() will find every parameter in its shape, without making the model: a damaged config.json may
// ask for more than fits in memory. Throws Error as load_weights() does.
void check_weights(const ModelConfig& config, const ModelLocation& location, bool fresh_memory = false);

// The config of the model there: config.json's, with a head of its own where the weights have one (model_source.h).
ModelConfig config_of(const ModelLocation& location);

// Copies every parameter from a file, or from the parts of an index, under any name of weight_map.h; a head that is
// tied may be there or not. `fresh_memory`: parameters of the memory that are not in the file keep the values they have
// (wrapping a plain backbone). Adapters in the files are merged; those of the model itself keep the values they have.
// Throws Error naming the first tensor that is missing, unknown, of another shape, or holds what is not finite.
void load_weights(Model& model, const ModelLocation& location, bool fresh_memory = false);

// Those published tensors that train, or those that do not, from a file that holds just these under their own names.
// Throws Error for one that is missing, superfluous, of another shape or not finite.
void load_tensors(Model& model, const SafetensorsFile& file, bool trainable);

// Every parameter under its published name.
NamedTensors published_weights(const Model& model);
// The same for those that train, or those that do not.
NamedTensors published_weights(const Model& model, bool trainable);

// Writes config.json, model.safetensors and, from `tokenizer` (a file or folder, may be empty), the tokenizer's files
// into a new folder, whole or not at all. Throws UsageError where the folder exists.
void export_model(const Model& model, const std::string& tokenizer, const std::string& folder);

}  // namespace wt
