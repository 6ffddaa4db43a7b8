// Cosines and sines of rotary positions.
#pragma once

#include "core/tensor.h"
#include "layers/config.h"

namespace wt {

// Angular frequency of each of the K/2 pairs: θ^(-2i/K), changed as the scaling asks. "dynamic" (NTK-aware scaling, as
// Hugging Face's library has it) takes, for n = `rows` above the original length n0, θ (f n/n0 - (f - 1))^(K/(K-2)) in
// place of θ. Source of "llama3": the rule published with Llama 3.1's weights.
std::vector<double> rotary_frequencies(double theta, std::int64_t width, const RopeScaling& scaling,
                                       std::int64_t rows = 0);

// (positions, K): K/2 cosines, then K/2 sines, of position · frequency, computed in double.
Tensor rotary_table(const Stream& stream, const std::vector<double>& frequencies, std::int64_t positions, DType dtype);

}  // namespace wt
