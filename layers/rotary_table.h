// Cosines and sines of rotary positions.
#pragma once

#include "core/tensor.h"
#include "layers/config.h"

namespace wt {

// Angular frequency of each of the K/2 pairs: θ^(-2i/K), changed as the scaling asks. Source: Llama 3.1's rule as
// published with its weights.
std::vector<double> rotary_frequencies(double theta, std::int64_t width, const RopeScaling& scaling);

// (positions, K): K/2 cosines, then K/2 sines, of position · frequency, computed in double.
Tensor rotary_table(const Stream& stream, const std::vector<double>& frequencies, std::int64_t positions, DType dtype);

}  // namespace wt
