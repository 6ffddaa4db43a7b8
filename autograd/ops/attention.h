#pragma once

#include "autograd/tape.h"
#include "kernels/attention.h"

namespace wt::ops {

// Turns the queries and keys of qkv_GBTW by their row numbers, in place (kernels/rotary.h): the Var given is not to be
// used by another op. cos_sin and first are constants.
Var rotary(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads, const Tensor& cos_sin,
           const Tensor& first = {});

// Causal grouped-query attention (kernels/attention.h): qkv_GBTW -> out_GBT(HK).
Var attention(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads);

}  // namespace wt::ops
