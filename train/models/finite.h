// Weights and logits that are no numbers: a damaged file, or a training that diverged.
#pragma once

#include <string>

#include "core/safetensors.h"

namespace wt {

// Throws Error naming file, tensor and element where a stored floating-point value is NaN or infinite, or, for F64 that
// is to be computed in a narrower dtype, larger than f32 holds. One pass over the bytes, at the speed of memory.
void check_finite(const SafetensorsFile& file, const std::string& name, bool fits_f32 = false);

// Whether every value of a floating-point tensor on the CPU is.
bool all_finite(const Tensor& tensor);

}  // namespace wt
