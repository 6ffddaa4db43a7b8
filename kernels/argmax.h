// The place of the largest element of each row: greedy decoding.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// index_R (i32) of the largest element of each row of x_RV, the first of several equal ones. NaN never wins: a row of
// nothing else gives 0. V >= 1.
void argmax_rows(const Stream& stream, const Tensor& x, const Tensor& index);

}  // namespace wt::kernels
