// Conversion between floating dtypes.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// y = x in y's dtype, equal shapes; f32 -> bf16 rounds to nearest even. No overlap.
void cast(const Stream& stream, const Tensor& x, const Tensor& y);

}  // namespace wt::kernels
