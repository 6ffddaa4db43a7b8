// What a model is made of: plain values, no parsing. YAML (train/config.h) and a Hugging Face config.json
// (train/models/model_config_json.h) fill them, by way of the family's keys (layers/families/family.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "layers/adapter.h"
#include "layers/associative_memory.h"
#include "layers/custom_mixer.h"
#include "layers/feed_forward.h"
#include "layers/mixers/attention.h"
#include "layers/mixers/mamba2.h"
#include "layers/norm.h"
#include "layers/recurrent_rows.h"
#include "layers/segment_layout.h"

namespace wt {

// All there are. Beside each: its name in files (kKind; none: it cannot be there), describe(), summary(),
// check_mixer(), carries_text(), make_mixer().
using MixerConfig = std::variant<AttentionConfig, Mamba2Config, CustomMixer>;

// One kind of layer: a mixer, its settings, and the layers that have it.
struct KindConfig {
  std::string name;  // in keys and messages; may be empty where there is one kind
  MixerConfig mixer;
  std::vector<std::int64_t> layers;  // ascending; none: all that no other kind has
  bool operator==(const KindConfig&) const = default;
};

// Name, kind of mixer with its settings, layers.
void describe(Fields& fields, KindConfig& config);
// The mixer in words: "4 heads (2 key/value) of 16".
std::string summary(const KindConfig& config, std::int64_t hidden_size);

// What a family calls the parts of a model; "{l}" is the layer.
struct ModelNames {
  std::string base = "model.";  // in front of everything but the head
  std::string layer = "layers.{l}.";
  std::string tokens = "embed_tokens";
  std::string positions;  // the table of positions; none where this is empty
  std::string mixer_norm = "input_layernorm";
  std::string feed_forward_norm = "post_attention_layernorm";
  std::string norm = "norm";
  std::string head = "lm_head";
  bool operator==(const ModelNames&) const = default;
};

struct ModelConfig {
  std::string family = "llama";       // whose keys and names: layers/families/family.h
  std::int64_t vocab_size = 0;        // V; 0 until the tokenizer is known
  std::int64_t hidden_size = 0;       // D
  std::int64_t num_layers = 0;        // L
  std::int64_t max_positions = 2048;  // rows of the table of positions (ARMT lengthens it); without one only recorded
  bool tie_word_embeddings = true;
  double init_std = 0.02;             // deviation of fresh weights
  double embedding_std = 0;           // deviation of fresh token and memory embeddings; 0 means init_std
  double dropout = 0;                 // one rate for embeddings, mixers and residuals
  std::int64_t bos_id = -1;           // -1: none
  std::vector<std::int64_t> eos_ids;  // each ends a text; training data end with the first

  std::vector<KindConfig> kinds{{}};
  NormConfig norm;
  FeedForwardConfig feed_forward;
  ModelNames names;
  kernels::WeightLayout layout = kernels::WeightLayout::kOutIn;  // of the layers' matrices
  bool shrink_outputs = false;  // fresh projections back into the residual stream are smaller the deeper the model

  // At most one of these two; neither: a plain backbone.
  std::optional<ArmtConfig> armt;
  std::optional<RmtConfig> rmt;
  // A plain backbone's most tokens: of longer texts it is given the last ones. 0: no limit.
  std::int64_t window = 0;
  // Tokens of a segment of a model without ARMT and RMT. 0: kUsualSegment where every layer carries a text's state
  // itself, so that segments make no difference; else a text is one segment.
  std::int64_t own_segment_size = 0;
  static constexpr std::int64_t kUsualSegment = 1024;
  // The blocks have adapters, and only those and the memory train (train/run/freeze.h).
  std::optional<LoraConfig> lora;

  // The mixer of a model whose layers are all alike.
  AttentionConfig& attention() { return std::get<AttentionConfig>(kinds.front().mixer); }
  const AttentionConfig& attention() const { return std::get<AttentionConfig>(kinds.front().mixer); }
  // The kind of every layer. Throws Error where a layer has none, or two.
  std::vector<int> kind_of_layer() const;

  double fresh_embedding_std() const { return embedding_std > 0 ? embedding_std : init_std; }
  double output_std() const;
  std::int64_t mlp_width() const {
    return feed_forward.intermediate_size > 0 ? feed_forward.intermediate_size : 4 * hidden_size;
  }
  bool has_positions() const { return !names.positions.empty(); }

  bool has_memory() const { return armt || rmt; }
  // Whether all layers carry a text's state from segment to segment by themselves.
  bool layers_carry_text() const;
  // Tokens of a full segment; 0: a plain backbone, which reads all as one segment.
  std::int64_t segment_size() const;
  bool recurrent() const { return segment_size() > 0; }
  std::int64_t num_mem_tokens() const { return armt ? armt->num_mem_tokens : rmt ? rmt->num_mem_tokens : 0; }
  SegmentAlignment segment_alignment() const {
    return armt ? armt->segment_alignment : rmt ? rmt->segment_alignment : SegmentAlignment::kLeft;
  }
  SegmentLayout segment_layout() const;
  // Rows of a full segment with its memory, which is what dynamic rotary scaling goes by; 0 where a text is one.
  std::int64_t segment_rows() const { return segment_layout().rows(segment_size()); }
  // What the data counts as a segment: for a plain backbone as many tokens as it can read.
  std::int64_t data_segment() const { return recurrent() ? segment_size() : window > 0 ? window : max_positions; }
  bool operator==(const ModelConfig&) const = default;
};

// What is wrong with a configuration: its key ("hidden_size") and what of it. Must throw.
using CheckFail = std::function<void(const std::string&, const std::string&)>;

// Sizes that do not fit together, checked wherever a ModelConfig comes from.
void check_model(const ModelConfig& config, const CheckFail& fail);

}  // namespace wt
