#include "layers/families/family.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/fields.h"
#include "core/json_object.h"

namespace wt {

// Each in a file of its own.
extern const Family kLlama, kGpt2, kMamba2, kBamba, kHybrid;

const std::vector<Family>& families() {
  static const std::vector<Family> all{kLlama, kGpt2, kMamba2, kBamba, kHybrid};
  return all;
}

const Family& family_of(std::string_view name) {
  std::string known;
  for (const Family& family : families()) {
    if (family.name == name) return family;
    known += cat(known.empty() ? "" : ", ", family.name);
  }
  throw Error(cat("model family '", name, "' is not known, expected one of ", known));
}

std::string_view what_is_missing(std::string_view model_type) {
  if (model_type == "granitemoehybrid") {
    return "Granite-4 is Bamba with multipliers of embeddings, residuals, attention and logits, rotary positions over "
           "whole heads or none, one matrix for gate and up, and mixtures of experts in some";
  }
  if (model_type == "zamba2") {
    return "Zamba2 is Mamba-2 with transformer blocks that several layers share, run on the hidden state beside the "
           "embeddings, with low-rank adapters for each use";
  }
  if (model_type == "nemotron_h") {
    return "Nemotron-H is Mamba-2 with layers that are attention or a feed-forward half (relu²) or a mixture of "
           "experts alone, without rotary positions";
  }
  if (model_type == "falcon_h1") {
    return "Falcon-H1 is Bamba with attention and scan side by side in every layer, and a multiplier for each of their "
           "parts";
  }
  if (model_type == "mamba")
    return "Mamba is another recurrence than Mamba-2's, with a decay for every entry of the state";
  return "";
}

std::string Family::json_key(const std::string& key) const {
  for (const Key& known : json_keys) {
    if (known.ours == key) return std::string(known.theirs);
  }
  return key;
}

ModelConfig new_config(std::string_view family) {
  ModelConfig config;
  config.family = family;
  family_of(config).fix(config);
  return config;
}

void set_segment_size(ModelConfig& c, std::int64_t tokens) {
  (c.armt ? c.armt->segment_size : c.rmt ? c.rmt->segment_size : c.own_segment_size) = tokens;
  family_of(c).fix(c);
}

void fix_usual(ModelConfig& c) {
  const ModelConfig usual;
  c.norm.kind = usual.norm.kind;
  c.feed_forward.kind = usual.feed_forward.kind;
  c.feed_forward.in = usual.feed_forward.in;
  c.feed_forward.out = usual.feed_forward.out;
  c.names = usual.names;
  c.layout = usual.layout;
  c.shrink_outputs = false;
}

AttentionConfig& only_attention(ModelConfig& c) {
  c.kinds.resize(1);
  KindConfig& kind = c.kinds[0];
  if (!std::holds_alternative<AttentionConfig>(kind.mixer)) kind.mixer.emplace<AttentionConfig>();
  kind.name.clear();
  kind.layers.clear();
  return std::get<AttentionConfig>(kind.mixer);
}

void describe_architecture(Fields& f, ModelConfig& c) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const Family& family : families()) names.emplace_back(family.name, family.name);
  f.choice<std::string>("type", c.family, names, "Family of models: which keys there are, and what weights are called");
  const Family& family = family_of(c);
  family.fix(c);
  family.describe(f, c);
  family.fix(c);
}

void describe_vocabulary(Fields& f, ModelConfig& c) {
  f.integer("vocab_size", c.vocab_size, count_from(0), "Rows of the embedding table, 0 for the tokenizer's");
  f.integer("hidden_size", c.hidden_size, count_from(1), "Width of the hidden state", Presence::kRequired);
  if (c.feed_forward.kind != FeedForwardConfig::Kind::kNone) {
    f.integer("intermediate_size", c.feed_forward.intermediate_size, count_from(0),
              "Width of the feed-forward layer, 0 for 4 hidden_size");
  }
  f.integer("num_layers", c.num_layers, from_to(1, 10000), "Blocks", Presence::kRequired);
}

void describe_usual(Fields& f, ModelConfig& c) {
  f.boolean("mlp_bias", c.feed_forward.bias, "Biases in the feed-forward layer");
  f.real("rms_norm_eps", c.norm.eps, above(0), "Added to the mean square");
  f.integer("max_positions", c.max_positions, count_from(1),
            "Tokens it was made for: recorded, and what a plain backbone's data count as a segment");
}

void describe_tokens(Fields& f, ModelConfig& c) {
  f.boolean("tie_word_embeddings", c.tie_word_embeddings, "One matrix for embedding and head");
  f.real("init_std", c.init_std, above(0), "Deviation of fresh weights");
  f.real("embedding_std", c.embedding_std, at_least(0),
         "Deviation of fresh token and memory embeddings, 0 for init_std");
  f.integer("bos_id", c.bos_id, at_least(-1), "Begin-of-text token, -1 for none");
  f.integers("eos_id", c.eos_ids, at_least(-1), "End-of-text token, or a list of them; [] or -1 for the tokenizer's");
}

std::int64_t read_size(const JsonObject& json, const std::string& key, std::optional<std::int64_t> fallback) {
  constexpr std::int64_t kMost = std::int64_t{1} << 26;
  const std::int64_t size = json.integer(key, 1, fallback);
  if (size > kMost) json.fail(key, cat("is ", size, ", expected at most ", kMost));
  return size;
}

void read_step_limits(const JsonObject& json, const std::string& key, Mamba2Config& c) {
  if (const auto limits = json.interval(key)) std::tie(c.least_step, c.most_step) = *limits;
}

void write_step_limits(nlohmann::ordered_json& json, const Mamba2Config& c) {
  const bool open = c.most_step == std::numeric_limits<double>::infinity();
  if (open && c.least_step == 0) return;
  // As Hugging Face's library writes infinity, for which JSON has no number.
  const nlohmann::ordered_json most =
      open ? nlohmann::ordered_json{{"__float__", "Infinity"}} : nlohmann::ordered_json(c.most_step);
  json["time_step_limit"] = {c.least_step, most};
}

}  // namespace wt
