// Drawing one element of each row by its probability: sampling with temperature from the nucleus. Source: Holtzman et
// al., "The Curious Case of Neural Text Degeneration" (arXiv 1904.09751).
// Legend: R rows, V elements of a row.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// With w_v = exp((x_v - max x) / temperature) the nucleus is the fewest largest elements (of equal ones the first) that
// have Σ w >= top_p · Σ_V w together. index_R (i32) is the first of it, in order of places, behind which the nucleus
// has more than uniform_R (f64, in [0, 1)) of its weight. NaN weighs nothing: a row of nothing else gives 0. V >= 1,
// temperature > 0, 0 < top_p <= 1. Sums are in double and in a fixed order; on CUDA in another one than on the CPU.
void sample_rows(const Stream& stream, const Tensor& x, double temperature, double top_p, const Tensor& uniform,
                 const Tensor& index);

}  // namespace wt::kernels
