// A model folder's config.json, as the Hugging Face libraries write it for Llama and GPT-2; with memory an `armt` or
// `rmt` object beside the backbone's keys, and that name as model_type (memory_config.h) or, as older folders have it,
// the backbone's; in a run folder a `lora` object where it trains adapters.
#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "layers/model_config.h"

namespace wt {

// `path` is a config.json or the folder that holds it. Rotary settings are read at top level (rope_theta, rope_scaling)
// and inside rope_parameters. Throws Error "path: key: is …, expected …"
// for what is missing, of the wrong type, contradictory, or not supported: other model types and activations, other
// rotary scalings, sliding windows, quantised weights, code of others, unknown keys in `armt`.
ModelConfig read_model_config(const std::string& path);
// The same from text; `name` stands for the path in errors.
ModelConfig parse_model_config(const std::string& text, const std::string& name);

// The ids under `key` of another such file (generation_config.json): a number or a list. Empty where there is no such
// key or null. Throws Error.
std::vector<std::int64_t> read_token_ids(const std::string& path, const std::string& key);

// The text of a config.json that those libraries and read_model_config() read; `dtype` is that of the weights beside
// it.
std::string format_model_config(const ModelConfig& config, DType dtype);

}  // namespace wt
