// Causal grouped-query attention, with or without rotary positions (kernels/rotary.h): inside a segment
// (kernels/attention.h), or over the whole text, whose keys and values are kept (kernels/text_attention.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/attention.h"

namespace wt {

class Builder;
class Fields;
class Mixer;

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

struct AttentionConfig {
  static constexpr const char* kKind = "attention";  // in YAML and config.json

  // What a row attends besides the rows of its segment before it: nothing, or all of its text.
  enum class Span : std::uint8_t { kSegment, kText };

  std::int64_t num_heads = 0;        // H
  std::int64_t num_kv_heads = 0;     // Hkv; 0 means H
  std::int64_t head_dim = 0;         // K; 0 means D / H
  bool bias = false;                 // on query, key, value and output
  bool rotary = true;                // positions turn queries and keys
  double partial_rotary_factor = 1;  // of a head's width that turns: its first entries
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  Span span = Span::kSegment;
  // What the family calls the matrices: query, key and value, or all three in one.
  std::vector<std::string> in = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  std::string out = "self_attn.o_proj";

  std::int64_t kv_heads() const { return num_kv_heads > 0 ? num_kv_heads : num_heads; }
  std::int64_t head_width(std::int64_t hidden_size) const { return head_dim > 0 ? head_dim : hidden_size / num_heads; }
  std::int64_t rotary_width(std::int64_t hidden_size) const {
    return static_cast<std::int64_t>(static_cast<double>(head_width(hidden_size)) * partial_rotary_factor);
  }
  kernels::AttentionHeads heads(std::int64_t hidden_size) const {
    return {num_heads, kv_heads(), head_width(hidden_size)};
  }
  bool operator==(const AttentionConfig&) const = default;
};

// All keys; and without those that an architecture fixes: span, partial_rotary_factor.
void describe(Fields& fields, AttentionConfig& config);
void describe_heads(Fields& fields, AttentionConfig& config);
void describe(Fields& fields, RopeScaling& config);
// "4 heads (2 key/value) of 16"
std::string summary(const AttentionConfig& config, std::int64_t hidden_size);
// Sizes that do not fit together; `fail` as in check_model().
void check_mixer(const AttentionConfig& config, std::int64_t hidden_size,
                 const std::function<void(const std::string&, const std::string&)>& fail);

// Whether a text may be cut into any segments without a difference.
inline bool carries_text(const AttentionConfig& config) {
  return config.span == AttentionConfig::Span::kText;
}

std::unique_ptr<Mixer> make_mixer(const AttentionConfig& config, const Builder& builder);

}  // namespace wt
