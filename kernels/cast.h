// Conversion between floating dtypes, and of a float32 into two halves.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// y = x in y's dtype, equal shapes; f32 -> bf16 rounds to nearest even. No overlap.
void cast(const Stream& stream, const Tensor& x, const Tensor& y);

// x (f32) as high (bf16) and low (i16), and back: core/split_float.h. Equal shapes, no overlap.
void split_float(const Stream& stream, const Tensor& x, const Tensor& high, const Tensor& low);
void join_float(const Stream& stream, const Tensor& high, const Tensor& low, const Tensor& x);

}  // namespace wt::kernels
