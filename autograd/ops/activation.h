#pragma once

#include "autograd/tape.h"
#include "kernels/dropout.h"

namespace wt::ops {

// silu(gate) ∘ up, a row of gate_up_..(2F) holding gate, then up (kernels/activation.h). -> ..F
Var swiglu(Context& ctx, const Var& gate_up);

// GELU in its tanh form (kernels/activation.h).
Var gelu(Context& ctx, const Var& x);

// x ∘ keep / (1 - p) (kernels/dropout.h). x_GB.., cell_GB. p = 0, or not training: x itself.
Var dropout(Context& ctx, const Var& x, const Tensor& cell, double p, const kernels::DropoutKey& key);

}  // namespace wt::ops
