// What a published architecture calls things, and what it fixes: its name, its keys in YAML and config.json. The parts
// themselves are modules that any family puts together (layers/model_config.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "layers/model_config.h"

namespace wt {

class Fields;
class JsonObject;

struct Family {
  std::string_view name;          // model.type in YAML, model_type in config.json
  std::string_view architecture;  // the class that Hugging Face's library has for it; "": none
  // What is the same in all of its models: names, kinds of norm and feed-forward, layouts. Leaves sizes as they are.
  void (*fix)(ModelConfig& config);
  // Its keys in YAML, from the vocabulary on.
  void (*describe)(Fields& fields, ModelConfig& config);
  // Beyond check_model().
  void (*check)(const ModelConfig& config, const CheckFail& fail);
  // Its keys of config.json, beyond those that all have (train/models/model_config_json.cpp). read() refuses what would
  // change the numbers and is not supported.
  void (*read)(const JsonObject& json, ModelConfig& config);
  void (*write)(const ModelConfig& config, nlohmann::ordered_json& json);
  // Keys of ours that have another name there.
  struct Key {
    std::string_view ours, theirs;
  };
  std::span<const Key> json_keys = {};
  // The mixers' keys stand in groups of their kinds' names, not in a list.
  bool kinds_by_name = false;
  // Beginnings of tensors' names that files of another library have in place of ours.
  std::span<const Key> tensor_names = {};

  std::string json_key(const std::string& key) const;
};

const std::vector<Family>& families();
// Throws Error for a name that is none's.
const Family& family_of(std::string_view name);
// What a model_type that is like one of ours has beyond it; "" for any other.
std::string_view what_is_missing(std::string_view model_type);
inline const Family& family_of(const ModelConfig& config) {
  return family_of(config.family);
}
// A configuration of that family, sizes as in ModelConfig.
ModelConfig new_config(std::string_view family);

// Gives it segments of so many tokens: its memory's, or its own where it has none (ModelConfig::own_segment_size).
void set_segment_size(ModelConfig& config, std::int64_t tokens);

// Norms, feed-forward layer, names and layouts as ModelConfig has them by itself: Llama's.
void fix_usual(ModelConfig& config);
// Makes one kind of layers of them all, without a name, and returns its attention: as it was if it was one already.
AttentionConfig& only_attention(ModelConfig& config);

// The keys of an architecture, its family first.
void describe_architecture(Fields& fields, ModelConfig& config);

// Keys that all families have, for their describe().
void describe_vocabulary(Fields& fields, ModelConfig& config);
// mlp_bias, rms_norm_eps, and max_positions where there is no table of them.
void describe_usual(Fields& fields, ModelConfig& config);
void describe_tokens(Fields& fields, ModelConfig& config);

// A whole number of at least 1, and small enough that products of two stay in 64 bits.
std::int64_t read_size(const JsonObject& json, const std::string& key, std::optional<std::int64_t> fallback = {});
// The limits of Mamba-2's δ in config.json: a list of two under `key`; absent where there are none.
void read_step_limits(const JsonObject& json, const std::string& key, Mamba2Config& config);
void write_step_limits(nlohmann::ordered_json& json, const Mamba2Config& config);

}  // namespace wt
