// The associative memory of ARMT: read before a layer's block, delta-rule write after it. Source: Rodkin et al.,
// "Associative recurrent memory transformer" (arXiv 2407.04841). Legend: G layers, B samples, T rows of a segment, M
// memory rows, D width, P features. State of a cell: A_PD and z_P.
#pragma once

#include "core/host_device.h"
#include "core/tensor.h"
#include "kernels/cells.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

inline constexpr double kMemoryEpsilon = 1e-5;

// The smaller of two denominators. NaN is below all numbers: once there, it is what is seen.
template <class T>
WT_HOST_DEVICE T smaller_denominator(T a, T b) {
  return b < a || b != b ? b : a;  // NOLINT(misc-redundant-expression): NaN alone differs from itself
}

struct MemoryExtents {
  std::int64_t g, b, t, d, p;
  WT_HOST_DEVICE std::int64_t cells() const { return g * b; }
  WT_HOST_DEVICE std::int64_t rows() const { return g * b * t; }
};
inline MemoryExtents memory_extents(const Tensor& features, const Tensor& a) {
  return {features.dim(0), features.dim(1), features.dim(2), a.dim(3), features.dim(3)};
}

// y = x + (φ A) / c,   c = φ·z + 1e-5; y = x in first and inactive cells.
// x_GBTD, phi_GBTP, a_GBPD, z_GBP -> y_GBTD, den_GBT (c). y does not overlap x. The smallest c of an active, not first
// cell's rows is folded into min_den (one element, smaller_denominator() of it and what is there; may be undefined).
void memory_read_forward(const Stream& stream, const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z,
                         const Cells& cells, const Tensor& y, const Tensor& den, const Tensor& min_den);

// With g = dy / c and t = g Aᵀ:  dphi = t - z (φ·t)/c (overwritten);  da (+)= φᵀ g;  dz (+)= -φᵀ (φ·t)/c.
// (dx = dy is the caller's.) da and dz share one mode; in first and inactive cells they are zero or stay as they are.
void memory_read_backward(const Stream& stream, const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                          const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da, const Tensor& dz,
                          GradMode state_mode);

// All M rows read the same old state:
//   c = k·z + 1e-5,  v_old = (k A) / c  (0 in a first cell),  e = v - v_old,  β = sigmoid(b)
//   γ = clip(1 - c / (‖k‖² + 1e-5), 0, 1)   (1 in a first cell, and everywhere without `correction`)
//   A' = A + Σ_i k_i ⊗ β_i e_i,   z' = z + Σ_i γ_i k_i;   A' = A and z' = z in inactive cells.
// k_GBMP, v_GBMD, b_GBM, a_GBPD, z_GBP -> a_out, z_out (may be a and z), and for backward error_GBMD (e), den_GBM (c),
// gamma_GBM (γ). min_den as in the read.
struct MemoryWrite {
  Tensor error, den, gamma;
};
void memory_write_forward(const Stream& stream, const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a,
                          const Tensor& z, const Cells& cells, bool correction, const Tensor& a_out,
                          const Tensor& z_out, const MemoryWrite& saved, const Tensor& min_den);

// da and dz come in as the gradients of A' and z' and leave as those of A and z. dk, dv, db are overwritten. No
// gradient flows through γ.
void memory_write_backward(const Stream& stream, const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                           const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                           const Tensor& dk, const Tensor& dv, const Tensor& db);

}  // namespace wt::kernels
