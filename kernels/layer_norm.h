// LayerNorm of a wave. Source: Ba, Kiros and Hinton (arXiv 1607.06450); biased variance, as in GPT-2.
//   y_r = w ∘ x̂_r + b,   x̂_r = (x_r - μ_r) ρ_r,   ρ_r = 1 / √(var_D(x_r) + eps)
// Legend: G layers, R rows, D width.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// x_GRD, w_GD, b_GD -> y_GRD, mean_GR (μ), rstd_GR (ρ). y may be x. `order` as in kernels/rms_norm.h.
void layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& order = {});

// With g = w∘dy: dx_GRD (+)= ρ (g - mean_D(g) - x̂ mean_D(g∘x̂)); dw_GD += Σ_R dy∘x̂; db_GD += Σ_R dy. dw and db are both
// defined or both undefined (not wanted). dx may be dy; with an order it is not.
void layer_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db,
                         const Tensor& order = {});

}  // namespace wt::kernels
