// Checkpoints of ARMT from one naming to the other, file to file: what the published PyTorch wrapper saves -> a model
// folder of ours, and back. LoRA adapters are merged on the way, those of a plain backbone too; other weights keep
// their bytes.
#pragma once

#include <cstdint>
#include <string>

#include "train/models/lora.h"

namespace wt {

// The names that wrapped layers get: kModel is what every command of ours writes
// (`memory_cell.model.model.layers.{l}.…`, GPT-2 `….transformer.h.{l}.…`), kLayers the wrapper's first path
// (`memory_cell.layers.{l}.…`), kBoth every name that the wrapper's state_dict() has, a tied head among them.
enum class WeightNames : std::uint8_t { kModel, kLayers, kBoth };

struct ConvertOptions {
  WeightNames names = WeightNames::kModel;
  // For a source without a config.json that has an `armt` object: the backbone's config.json (empty: the source's own)
  // and what the weights do not tell. num_mem_tokens and d_mem come from the weights' shapes.
  std::string config;
  std::int64_t segment_size = 0;  // 0: from the source's armt object
  std::int64_t nu = 3;
  bool correction = true;
  SegmentAlignment alignment = SegmentAlignment::kLeft;
  LoraScale lora;            // alpha: in place of adapter_config.json beside the weights
  std::string adapter_base;  // for a source of PEFT adapters, as find_model() has it
};

struct ConvertReport {
  std::int64_t tensors = 0;  // written
  std::int64_t merged = 0;   // adapters
  std::string dtype;         // of the embedding table
};

// `source` is a .safetensors, its index, or the folder they or PEFT's adapters are in; `target` is made, whole or not
// at all, with config.json, model.safetensors and the tokenizer's files. Throws UsageError where a path or an option is
// wrong or missing, Error naming the tensor that is missing, superfluous or of another shape.
ConvertReport convert_model(const std::string& source, const ConvertOptions& options, const std::string& target);

}  // namespace wt
