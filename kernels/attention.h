// Causal grouped-query attention inside a segment. Sources: Vaswani et al. (arXiv 1706.03762), Ainslie et al., "GQA"
// (arXiv 2305.13245).
//   o_t = Σ_{s<=t} p_ts v_s,   p_t = softmax_s(q_t·k_s / √K)
// Query head h reads key/value head h / (H / Hkv).
// Legend: G layers, B samples, T rows, H query heads, J key/value heads (Hkv), K head width, W = (H + 2J) K.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

struct AttentionHeads {
  std::int64_t query = 0;
  std::int64_t key_value = 0;
  std::int64_t width = 0;
  std::int64_t row_width() const { return (query + 2 * key_value) * width; }
};

// Throws unless the heads divide into their groups and fill the rows of qkv.
void check_heads(const char* op, const Tensor& qkv, const AttentionHeads& heads);

// qkv_GBTW holds q, k and v side by side in each row -> out_GBT(HK), lse_GBHT (log of the softmax's denominator).
void attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse);

// Overwrites dqkv_GBTW. Probabilities are computed again from lse, so that nothing quadratic in T is kept.
void attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv);

// Attention with a key/value cache, for generation. The keys and values of the new rows qkv_BTW are written to rows
// [length_b, length_b + T) of keys_BCJK and values_BCJK, then each new row attends the cache's rows up to its own.
// length_B (i32) is the number of rows in the cache before the call. A cache too short for them is an Error, on CUDA at
// the stream's next wait (core/cuda.h). With cos_sin (kernels/rotary.h) queries and new keys are turned first, row t of
// sample b by position length_b + t; qkv may then be left turned or as it was.
void attention_cached(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin = {});

}  // namespace wt::kernels
