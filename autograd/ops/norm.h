#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"

namespace wt::ops {

// y = w ∘ x / √(mean(x²) + eps) over the last extent (kernels/rms_norm.h). x_G..D -> y_G..D. The residual that x also
// feeds costs nothing: its gradient is added to in place.
Var rms_norm(Context& ctx, const Var& x, const Parameter& weight, double eps);

// y = w ∘ (x - mean) / √(var + eps) + b over the last extent (kernels/layer_norm.h). x_G..D -> y_G..D.
Var layer_norm(Context& ctx, const Var& x, const Parameter& weight, const Parameter& bias, double eps);

}  // namespace wt::ops
