#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"

namespace wt::ops {

// y = w ∘ x / √(mean(x²) + eps) over the last extent (kernels/rms_norm.h). x_G..D -> y_G..D. The residual that x also
// feeds costs nothing: its gradient is added to in place. With an order y_order[g] belongs to layer g.
Var rms_norm(Context& ctx, const Var& x, const Parameter& weight, double eps, const Tensor& order = {});

// y = w ∘ (x - mean) / √(var + eps) + b over the last extent (kernels/layer_norm.h). x_G..D -> y_G..D, in an order as
// above.
Var layer_norm(Context& ctx, const Var& x, const Parameter& weight, const Parameter& bias, double eps,
               const Tensor& order = {});

}  // namespace wt::ops
