// DPFP feature map of the associative memory. Source: Schlag, Irie and Schmidhuber, "Linear transformers are secretly
// fast weight programmers" (arXiv 2102.11174), eq. 37.
//   u = [relu(x); relu(-x)],   φ(x) = [u∘r_1; …; u∘r_ν],   r_j[i] = u[(i - j) mod 2d]
// Legend: R rows, d = d_mem, P = 2νd features. φ >= 0.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// x_Rd -> phi_RP; the last extents are d and P, whatever the leading ones.
void dpfp_forward(const Stream& stream, const Tensor& x, std::int64_t nu, const Tensor& phi);
// Overwrites dx_Rd.
void dpfp_backward(const Stream& stream, const Tensor& dphi, const Tensor& x, std::int64_t nu, const Tensor& dx);

}  // namespace wt::kernels
