#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"

namespace wt::ops {

// h_g = x_g + delta_order[g] and its norm (kernels/add_norm.h), x_G..D, delta_G..D -> h_G..D, normed_G..D. An undefined
// order is layer order.
struct AddNorm {
  Var h, normed;
};
AddNorm add_norm(Context& ctx, const Var& x, const Var& delta, const Tensor& order, const Parameter& weight,
                 double eps);
// The same with a layer norm.
AddNorm add_norm(Context& ctx, const Var& x, const Var& delta, const Tensor& order, const Parameter& weight,
                 const Parameter& bias, double eps);

}  // namespace wt::ops
