// A residual sum and the norm behind it, in one pass: a layer's mixer is added to what it mixed, then normalised for
// what follows. The sums that are added may lie in another order of layers than the rest, as where layers of several
// kinds are mixed kind by kind.
//   h_g = x_g + delta_order[g],   n_g = norm(h_g)        norm: kernels/rms_norm.h or kernels/layer_norm.h
// Legend: G layers, R rows, D width. order_G (i32): a permutation of the layers; undefined: delta is in layer order. On
// the CPU another order is an Error; on CUDA a place that does not exist is one at the stream's next wait
// (core/cuda.h), and one that is given twice is the caller's mistake.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// x_GRD, delta_GRD, w_GD -> h_GRD, n_GRD, rstd_GR. h may be x; otherwise nothing overlaps.
void add_rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                          const Tensor& w, double eps, const Tensor& h, const Tensor& n, const Tensor& rstd);

// dh_GRD comes in as what else reached h and leaves as h's whole gradient, which is x's: dh (+)= that of the norm,
// which alone it is with kOverwrite. ddelta_order[g] = dh_g (ddelta undefined: not wanted). dw_GD += (undefined: not
// wanted).
void add_rms_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& rstd,
                           const Tensor& order, const Tensor& dh, GradMode dh_mode, const Tensor& dw,
                           const Tensor& ddelta);

// The same with a layer norm: b_GD, mean_GR; dw and db are both wanted or both not.
void add_layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                            const Tensor& w, const Tensor& b, double eps, const Tensor& h, const Tensor& n,
                            const Tensor& mean, const Tensor& rstd);
void add_layer_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w,
                             const Tensor& mean, const Tensor& rstd, const Tensor& order, const Tensor& dh,
                             GradMode dh_mode, const Tensor& dw, const Tensor& db, const Tensor& ddelta);

}  // namespace wt::kernels
