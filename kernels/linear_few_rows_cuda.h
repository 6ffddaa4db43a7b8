// Few rows through a linear layer, as a decoding step has them: bound by reading the weights once, which takes
// cuBLASLt's products half as long again.
#pragma once

#include "core/tensor.h"

namespace wt::kernels::cuda {

// y_GRO = x_GRI · w_GOIᵀ [+ bias_GO] [+ residual_GRO], R <= 4; bias and residual may be undefined, residual may be y.
// False, and nothing done, where the shape or alignment is not one for this kernel. Sums in f32 in a fixed order.
bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& residual,
                     const Tensor& y);

}  // namespace wt::kernels::cuda
