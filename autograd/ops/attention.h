#pragma once

#include "autograd/tape.h"
#include "kernels/attention.h"
#include "kernels/rotary.h"

namespace wt::ops {

// Turns the queries and keys of qkv_GBTW by their row numbers, in place (kernels/rotary.h): the Var given is not to be
// used by another op. cos_sin, first and what the options hold are constants; the heads' width goes for the options'.
Var rotary(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads, const Tensor& cos_sin,
           const Tensor& first = {}, const kernels::RotaryOptions& options = {});

// Causal grouped-query attention (kernels/attention.h): qkv_GBTW -> out_GBT(HK).
Var attention(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads);

}  // namespace wt::ops
