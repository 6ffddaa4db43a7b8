// What a model is made of: plain values, no parsing. train/config.* fills them from YAML and train/model_config_json.*
// from a Hugging Face config.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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
  bool attention_bias = false;  // llama: biases on q, k, v, o. gpt2 always has its biases
  bool mlp_bias = false;        // llama: biases on gate, up, down
  double init_std = 0.02;       // deviation of fresh weights
  double embedding_std = 0;     // deviation of fresh token and memory embeddings; 0 means init_std
  double dropout = 0;           // one rate for embeddings, attention and residuals
  std::int64_t bos_id = -1;     // -1: none
  std::int64_t eos_id = -1;     // -1: none

  bool has_armt = false;  // false: a plain backbone, `armt` unused
  ArmtConfig armt;

  std::int64_t kv_heads() const { return num_kv_heads > 0 ? num_kv_heads : num_heads; }
  std::int64_t head_width() const { return head_dim > 0 ? head_dim : hidden_size / num_heads; }
  double fresh_embedding_std() const { return embedding_std > 0 ? embedding_std : init_std; }
  // Rows of a full segment with its memory, which is what dynamic rotary scaling goes by. 0: a plain backbone, which
  // reads all as one segment.
  std::int64_t segment_rows() const { return has_armt ? armt.segment_size + armt.num_mem_tokens : 0; }
  std::int64_t mlp_width() const { return intermediate_size > 0 ? intermediate_size : 4 * hidden_size; }
  bool operator==(const ModelConfig&) const = default;
};

}  // namespace wt
