// The scan of Mamba-2, a linear recurrence whose state decays by a number per head and row. Source: Dao and Gu,
// "Transformers are SSMs" (arXiv 2405.21060).
//   δ_t = clip(softplus(dt_t + dt_bias), least, most),   α_t = -exp(a_log) δ_t
//   S_t = exp(α_t) S_{t-1} + δ_t x_t ⊗ b_t,   y_t = S_t c_t + d x_t
// Heads lie in runs: head h has b and c of group h / (H / R). Computed in chunks of Q rows (state-space duality): with
// l_i = Σ_{j<=i} α_j inside a chunk and S the state at its start,
//   Y = ((c bᵀ) ∘ E) (δ ∘ x) + diag(e^l) c Sᵀ,   E_ij = exp(l_i - l_j) for j <= i, else 0
//   S' = e^{l_Q} S + (diag(e^{l_Q - l}) δ ∘ x)ᵀ b
// Any Q gives the same up to rounding; chunks begin anew with every segment.
// Legend: G layers, B samples, T rows, H heads of width P, N state size, R groups, E = H P + 2 R N columns.
#pragma once

#include <limits>

#include "core/tensor.h"
#include "kernels/cells.h"

namespace wt::kernels {

struct SsdShape {
  std::int64_t heads = 0;   // H
  std::int64_t width = 0;   // P
  std::int64_t state = 0;   // N
  std::int64_t groups = 1;  // R
  std::int64_t chunk = 64;  // Q
  double least = 0, most = std::numeric_limits<double>::infinity();  // of δ
  std::int64_t inner() const { return heads * width; }
  std::int64_t columns() const { return inner() + 2 * groups * state; }
};

// Of a wave's layers, each (G, H), wide. As gradients they are added to; undefined: frozen.
struct SsdWeights {
  Tensor a_log, d, dt_bias;
};

// xbc_GBTE = [x | b | c] (after convolution and silu), dt_GBTH (wide), s_GBHPN (wide) -> y_GBT(HP), s_out (may be the
// memory of s). Rows beyond cells.rows are padding: δ is 0 there, whatever dt and xbc are, and y means nothing.
void ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                 const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y, const Tensor& s_out);

// dy_GBT(HP), and ds_out or undefined for none -> dxbc and ddt (overwritten; zero beyond cells.rows), the gradients of
// the weights (+=), ds (overwritten; may be ds_out's memory; undefined: not wanted). dy beyond cells.rows is not read.
void ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                  const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                  const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                  const Tensor& ds);

}  // namespace wt::kernels
