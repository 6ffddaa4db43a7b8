// The feed-forward half of a block:
//   y = h + Wdown · swiglu(Wgate_up · n)      (Shazeer, arXiv 2002.05202; Llama's)
//   y = h + Wdown · gelu(Wup · n)             (GPT-2's)
// with n = norm(h). Legend: G layers of the wave, B samples, T rows, D width, F inner width.
#pragma once

#include <string>
#include <vector>

#include "layers/linear.h"
#include "layers/mixer.h"

namespace wt {

struct FeedForwardConfig {
  enum class Kind : std::uint8_t { kSwiglu, kGelu, kNone };
  Kind kind = Kind::kSwiglu;           // kNone: a layer is its mixer alone, y = h
  std::int64_t intermediate_size = 0;  // F; 0 means 4 D
  bool bias = false;
  // What the family calls the matrices: gate and up, or up alone.
  std::vector<std::string> in = {"mlp.gate_proj", "mlp.up_proj"};
  std::string out = "mlp.down_proj";
  bool operator==(const FeedForwardConfig&) const = default;
};

class FeedForward {
 public:
  FeedForward(const Builder& builder, const FeedForwardConfig& config);
  // n_GBTD and h_GBTD -> y_GBTD, written to `out`.
  Var operator()(Context& ctx, const WaveCells& cells, const Normed& n, const Var& h, const Tensor& out) const;
  Cost cost(std::int64_t rows) const;

 private:
  FeedForwardConfig::Kind kind_;
  Linear in_, out_;
};

}  // namespace wt
