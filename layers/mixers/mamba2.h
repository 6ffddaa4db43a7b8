// Mamba-2's mixer (Dao and Gu, "Transformers are SSMs", arXiv 2405.21060): a linear recurrence with a state of fixed
// size per head, in front of it a short causal convolution, behind it a gated norm.
//   [z | xbc | dt] = Win · u,   [x | b | c] = silu(conv(xbc)),   y = scan(x, b, c, dt),   out = Wout · gated_norm(y, z)
// (kernels/causal_conv.h, kernels/ssd.h, kernels/gated_norm.h). What a text has been is all in the state, so that it
// makes no difference how it is cut into segments.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "kernels/ssd.h"

namespace wt {

class Builder;
class Fields;
class Mixer;

struct Mamba2Config {
  static constexpr const char* kKind = "mamba2";  // in YAML and config.json

  std::int64_t num_heads = 0;     // H; 0 means 2 D / P
  std::int64_t head_dim = 64;     // P
  std::int64_t state_size = 128;  // N
  std::int64_t num_groups = 1;    // R: heads of a group share b and c, and are normed together
  std::int64_t conv_width = 4;    // K
  std::int64_t chunk_size = 256;  // as published; the numbers do not depend on it
  double least_step = 0;          // of δ
  double most_step = std::numeric_limits<double>::infinity();
  bool conv_bias = true;
  bool bias = false;        // on both projections
  bool norm_first = false;  // the gate behind the norm, not in front of it
  double norm_eps = 1e-5;
  // False: every segment's scan begins from nothing, an approximation of long prompts to be studied; the convolution
  // still sees the rows before. No file says so: it is asked for where a model is used.
  bool passes_state = true;
  std::string name = "mamba.";  // what the family puts in front of the names of its tensors

  std::int64_t heads(std::int64_t hidden_size) const { return num_heads > 0 ? num_heads : 2 * hidden_size / head_dim; }
  kernels::SsdShape shape(std::int64_t hidden_size) const;
  bool operator==(const Mamba2Config&) const = default;
};

// All keys; and without norm_eps, which a family has for all of its norms.
void describe(Fields& fields, Mamba2Config& config);
void describe_scan(Fields& fields, Mamba2Config& config);
// "32 heads of 64, state 128"
std::string summary(const Mamba2Config& config, std::int64_t hidden_size);
// Sizes that do not fit together; `fail` as in check_model().
void check_mixer(const Mamba2Config& config, std::int64_t hidden_size,
                 const std::function<void(const std::string&, const std::string&)>& fail);
inline bool carries_text(const Mamba2Config& config) {
  return config.passes_state;
}

std::unique_ptr<Mixer> make_mixer(const Mamba2Config& config, const Builder& builder);

}  // namespace wt
