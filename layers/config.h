// What a model is made of: plain values, no parsing. train/config.* fills them from YAML and train/model_config_json.*
// from a Hugging Face config.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

enum class BackboneType : std::uint8_t { kLlama, kGPT2 };
constexpr std::string_view name_of(BackboneType type) {
  return type == BackboneType::kLlama ? "llama" : "gpt2";
}

// How a sequence is cut into segments: all full but the last (left), all full but the first (right), equal parts
// (center).
enum class SegmentAlignment : std::uint8_t { kLeft, kRight, kCenter };
constexpr std::string_view name_of(SegmentAlignment alignment) {
  return alignment == SegmentAlignment::kLeft ? "left" : alignment == SegmentAlignment::kRight ? "right" : "center";
}

// Rotary frequencies stretched for longer contexts. "default" leaves them alone, "linear" divides all of them by
// `factor`, "llama3" divides the slow ones and blends the ones between (Llama 3.1's rule), "dynamic" raises θ with the
// number of rows once they are more than the model was trained on.
struct RopeScaling {
  std::string type = "default";
  double factor = 1;
  double low_freq_factor = 1;                  // llama3 only
  double high_freq_factor = 4;                 // llama3 only
  std::int64_t original_max_positions = 8192;  // llama3 and dynamic: the length the model was first trained on
  bool operator==(const RopeScaling&) const = default;
};

// The associative recurrent memory around every block.
struct ArmtConfig {
  std::int64_t segment_size = 0;    // N: tokens in a full segment
  std::int64_t num_mem_tokens = 0;  // M: memory tokens appended to each segment
  std::int64_t d_mem = 0;           // d: width of memory keys and queries before the feature map
  std::int64_t nu = 3;              // rotations of the DPFP feature map
  bool correction = true;           // gamma as in the paper; false: gamma = 1
  SegmentAlignment segment_alignment = SegmentAlignment::kLeft;

  // P: width of a memory key after the feature map.
  std::int64_t num_features() const { return 2 * nu * d_mem; }
  bool operator==(const ArmtConfig&) const = default;
};

// The memory of the recurrent memory transformer (Bulatov et al., arXiv 2207.06881): the same M rows before and after a
// segment's tokens; what the last layer, normed, makes of those after them are both in the next segment.
struct RmtConfig {
  std::int64_t segment_size = 0;    // N
  std::int64_t num_mem_tokens = 0;  // M
  SegmentAlignment segment_alignment = SegmentAlignment::kLeft;
  bool operator==(const RmtConfig&) const = default;
};

// Low-rank adapters on the blocks' matrices: W + alpha / rank · B A in place of W.
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;                // rate on the adapters' input
  std::vector<std::string> targets;  // modules: "q_proj", or with more of the path, "self_attn.q_proj"

  double scale() const { return alpha / static_cast<double>(rank); }
  bool operator==(const LoraConfig&) const = default;
};

struct ModelConfig {
  BackboneType type = BackboneType::kLlama;
  std::int64_t vocab_size = 0;         // V; 0 until the tokenizer is known
  std::int64_t hidden_size = 0;        // D
  std::int64_t intermediate_size = 0;  // F; gpt2: 0 means 4 D
  std::int64_t num_layers = 0;         // L
  std::int64_t num_heads = 0;          // H
  std::int64_t num_kv_heads = 0;       // Hkv; 0 means H
  std::int64_t head_dim = 0;           // K; 0 means D / H
  double rope_theta = 10000;           // llama
  RopeScaling rope_scaling;            // llama
  double rms_norm_eps = 1e-5;          // llama
  double layer_norm_eps = 1e-5;        // gpt2
  // gpt2: rows of the position table for tokens (ARMT lengthens it by num_mem_tokens). llama: recorded, not used.
  std::int64_t max_positions = 2048;
  bool tie_word_embeddings = true;
  bool attention_bias = false;        // llama: biases on q, k, v, o. gpt2 always has its biases
  bool mlp_bias = false;              // llama: biases on gate, up, down
  double init_std = 0.02;             // deviation of fresh weights
  double embedding_std = 0;           // deviation of fresh token and memory embeddings; 0 means init_std
  double dropout = 0;                 // one rate for embeddings, attention and residuals
  std::int64_t bos_id = -1;           // -1: none
  std::vector<std::int64_t> eos_ids;  // each ends a text; training data end with the first

  // At most one of these two; neither: a plain backbone.
  bool has_armt = false;
  ArmtConfig armt;
  bool has_rmt = false;
  RmtConfig rmt;
  // A plain backbone's most tokens: of longer texts it is given the last ones. 0: no limit.
  std::int64_t window = 0;

  bool has_lora = false;  // the blocks have adapters, and only those and the memory train (train/freeze.h)
  LoraConfig lora;

  std::int64_t kv_heads() const { return num_kv_heads > 0 ? num_kv_heads : num_heads; }
  std::int64_t head_width() const { return head_dim > 0 ? head_dim : hidden_size / num_heads; }
  double fresh_embedding_std() const { return embedding_std > 0 ? embedding_std : init_std; }
  bool has_memory() const { return has_armt || has_rmt; }
  // Tokens of a full segment, memory tokens, memory rows in a segment. 0: a plain backbone, which reads all as one
  // segment.
  std::int64_t segment_size() const { return has_armt ? armt.segment_size : has_rmt ? rmt.segment_size : 0; }
  std::int64_t num_mem_tokens() const { return has_armt ? armt.num_mem_tokens : has_rmt ? rmt.num_mem_tokens : 0; }
  std::int64_t memory_rows() const { return has_rmt ? 2 * rmt.num_mem_tokens : num_mem_tokens(); }
  SegmentAlignment segment_alignment() const { return has_rmt ? rmt.segment_alignment : armt.segment_alignment; }
  // Rows of a full segment with its memory, which is what dynamic rotary scaling goes by; 0 for a plain backbone.
  std::int64_t segment_rows() const { return segment_size() + memory_rows(); }
  // What the data counts as a segment: for a plain backbone as many tokens as it can read.
  std::int64_t data_segment() const { return has_memory() ? segment_size() : window > 0 ? window : max_positions; }
  std::int64_t mlp_width() const { return intermediate_size > 0 ? intermediate_size : 4 * hidden_size; }
  bool operator==(const ModelConfig&) const = default;
};

}  // namespace wt
