#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/linear.h"

namespace wt::ops {

// y = x wᵀ [+ bias] [+ residual] for the layers of the context. x_G..I -> y_G..O (middle extents are rows).
// `bias` and `residual` may be null. `out`, where defined, is the memory y is written to (it must not overlap x).
struct LinearOptions {
  const Parameter* bias = nullptr;
  const Var* residual = nullptr;
  kernels::WeightLayout layout = kernels::WeightLayout::kOutIn;
  Tensor out = {};
  bool wide_output = false;  // y in the wide dtype of x's: bf16 products as f32, for the logits
  // Of the weight's outputs, [first, first + outputs) only; the bias is then whole, too.
  std::int64_t first = kernels::kAllOutputs, outputs = 0;
};
Var linear(Context& ctx, const Var& x, const Parameter& weight, const LinearOptions& options = {});

}  // namespace wt::ops
