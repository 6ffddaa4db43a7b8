// Linear layers over one to four rows, as a decoding step has them: bound by reading the weights once, which cuBLASLt's
// products leave a third of the time on the table for.
#pragma once

#include "core/tensor.h"

namespace wt::kernels::cuda {

// y_GRO = x_GRI · w_GOIᵀ [+ residual_GRO], R <= 4; residual may be y. False, and nothing done, where the shape, dtype
// or alignment is not one for this kernel. Sums in f32 in a fixed order.
bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& residual, const Tensor& y);

}  // namespace wt::kernels::cuda
