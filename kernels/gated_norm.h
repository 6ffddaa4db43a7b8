// RMS norm by groups of channels, with a gate. Source: Mamba-2's reference code (state-spaces/mamba).
//   gate first:  g = y ∘ silu(z),   o = w ∘ g / √(mean_group(g²) + ε)
//   norm first:  o = (w ∘ y / √(mean_group(y²) + ε)) ∘ silu(z)
// Legend: G layers, B samples, T rows, I channels in R groups of neighbours, W >= I columns of the matrix that has z.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

struct GatedNorm {
  std::int64_t groups = 1;
  double eps = 1e-5;
  bool norm_first = false;
  bool operator==(const GatedNorm&) const = default;
};

// y_GBTI, z = columns [0, I) of z_GBTW, w_GI (wide) -> o_GBTI (may be y), rstd_GBTR (wide): 1 / √(… + ε).
void gated_norm_forward(const Stream& stream, const Tensor& y, const Tensor& z, const Tensor& w, const GatedNorm& norm,
                        const Tensor& o, const Tensor& rstd);

// dout_GBTI -> dy_GBTI (overwritten, may be dout), columns [0, I) of dz_GBTW (overwritten), dw_GI += (wide; undefined:
// frozen).
void gated_norm_backward(const Stream& stream, const Tensor& dout, const Tensor& y, const Tensor& z, const Tensor& w,
                         const Tensor& rstd, const GatedNorm& norm, const Tensor& dy, const Tensor& dz,
                         const Tensor& dw);

}  // namespace wt::kernels
