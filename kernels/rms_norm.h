// RMSNorm of a wave. Source: Zhang and Sennrich, "Root mean square layer normalization" (arXiv 1910.07467); eps inside
// the root, as in Llama.
//   y_r = w ∘ x_r · ρ_r,   ρ_r = 1 / √(mean_D(x_r²) + eps)
// Legend: G layers, R rows, D width.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// x_GRD, w_GD -> y_GRD, rstd_GR (ρ). y may be x. With order_G (i32, a permutation of the layers) y_order[g] is the norm
// of x_g, and y is not x: layers of several kinds are mixed kind by kind. On the CPU another order is an Error; on CUDA
// a place that does not exist is one at the stream's next wait (core/cuda.h).
void rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd, const Tensor& order = {});

// dx_GRD (+)= ρ (w∘dy - x ρ² mean_D(w∘dy∘x)); dw_GD += Σ_R dy∘x ρ (dw undefined: not wanted). dx may be dy;
// with an order, in which dy lies as y did, it is not.
void rms_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& order = {});

}  // namespace wt::kernels
