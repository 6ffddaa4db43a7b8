// Attention over a whole text that is read segment by segment. Equation and shapes: kernels/text_attention.h.
#pragma once

#include "autograd/tape.h"
#include "kernels/text_attention.h"

namespace wt::ops {

// The rows of a text so far, keys_GBCJK and values_GBCJK. They belong to all waves: a wave writes its own behind the
// others, in place. So does the gradient, in the wide dtype: what arrives for the next state holds what later segments
// gave to all rows, gets this segment's share, and is handed on as the gradient of the state that came in. The rows of
// this segment in it count no more: nothing before this segment has written them.
struct TextState {
  Var keys, values;
};

struct TextAttention {
  Var out;         // out_GBT(HK)
  TextState next;  // the state's memory
};

// qkv_GBTW, turned already, must not feed another op.
TextAttention text_attention(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads, const TextState& state,
                             const kernels::Cells& cells);

}  // namespace wt::ops
