// Causal grouped-query attention over a whole text that is read segment by segment: the rows at hand attend all rows
// before them, whose keys and values lie in a cache that grows.
//   o_t = Σ_{s <= past + t} p_ts v_s,   p_t = softmax_s(q_t·k_s / √K),   t < rows
// Query head h reads key/value head h / (H / J). Cell (g, b)'s text begins at row origin_gb of its cache, `past` rows
// of it (open ones included, where there are any) lie there when the call begins.
// Legend: G layers, B samples, T rows, H query heads, J key/value heads, K head width, W = (H + 2J) K, C rows of the
// cache.
#pragma once

#include "core/tensor.h"
#include "kernels/attention.h"
#include "kernels/cells.h"

namespace wt::kernels {

// qkv_GBTW with queries and keys turned already. The keys and values of the rows in use go to rows origin + past + [0,
// rows) of keys_GBCJK and values_GBCJK; then out_GBT(HK) and lse_GBHT (wide: log of the softmax's denominator; may be
// undefined). With cells.open its rows count as past ones. Rows beyond cells.rows are written to no cache and their
// output means nothing. A cache too short is an Error, on CUDA at the stream's next wait (core/cuda.h).
void text_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Cells& cells,
                            const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& lse);

// dkeys and dvalues_GBCJK (wide) hold what later segments gave to this text's rows. Adds this segment's share to the
// rows before it; its own rows are complete then, and go to dqkv_GBTW (overwritten; zero beyond cells.rows) together
// with the queries' gradient. The cache's own rows of dkeys and dvalues are left as they came. dout and lse beyond
// cells.rows are not read. A cell without rows changes nothing.
void text_attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                             const Tensor& lse, const AttentionHeads& heads, const Cells& cells, const Tensor& keys,
                             const Tensor& values, const Tensor& dkeys, const Tensor& dvalues, const Tensor& dqkv);

}  // namespace wt::kernels
