// A run's adapters as the PEFT library writes them: adapter_model.safetensors and adapter_config.json.
#pragma once

#include <string>

#include "train/models/model_io.h"

namespace wt {

// Makes `folder`, whole or not at all. Adapters are named `base_model.model.<module>.lora_A.weight` (r, in) and
// `….lora_B.weight` (out, r); whatever else the run has trained (the memory, by default) stands beside them as
// `base_model.model.<name>`, where PEFT keeps its modules_to_save. `base` is what adapter_config.json names as the base
// model (may be empty). config.json, of the model around the adapters, and the tokenizer's files come along. Returns
// the number of adapters. Throws UsageError where the location is no run with adapters, or the folder exists.
std::int64_t export_adapters(const ModelLocation& location, const std::string& base, const std::string& folder);

}  // namespace wt
