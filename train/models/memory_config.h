// How a config.json says that a model has memory. Hugging Face's library is told by model_type and auto_map, so that it
// never takes such weights for a plain backbone's: with trust_remote_code it loads modeling_wavetape.py, which lies
// beside them, without it refuses.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "layers/model_config.h"

namespace wt {

// kOwn: model_type is armt or rmt and backbone_type the backbone's. kBackbone: model_type is the backbone's, as the
// published code reads it (and our folders were written before); the memory's object stands there in either.
enum class ConfigForm : std::uint8_t { kOwn, kBackbone };

// Puts what there is to say of the config's memory into a backbone's config.json; nothing for a plain backbone.
void put_memory(nlohmann::ordered_json& json, const ModelConfig& config, ConfigForm form);

// The text of a config.json brought up to date with `config`: memory, and whether the head is tied. Other keys stay as
// they are. `name` stands for the path in errors.
std::string updated_config(const std::string& text, const std::string& name, const ModelConfig& config,
                           ConfigForm form = ConfigForm::kOwn);

// The file that auto_map names: train/models/modeling_wavetape.py, which the program has in it.
inline constexpr std::string_view kModelingModule = "modeling_wavetape";
std::string_view modeling_source();

// Writes config.json and, for a model with memory, the code beside it.
void write_model_config(const std::string& folder, const ModelConfig& config, const std::string& text);

}  // namespace wt
