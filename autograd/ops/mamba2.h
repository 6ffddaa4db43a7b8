// The core of Mamba-2's mixer, between its two projections: convolution, scan, gated norm (kernels/causal_conv.h,
// kernels/ssd.h, kernels/gated_norm.h). One op, since its steps work on blocks of columns of one matrix, whose gradient
// has one owner. Legend: G layers, B samples, T rows, H heads of width P, I = H P, N state size, R groups, E = I + 2 R
// N channels of the convolution, K rows that each of them sees.
#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/cells.h"
#include "kernels/gated_norm.h"
#include "kernels/ssd.h"

namespace wt::ops {

struct Mamba2Weights {
  const Parameter* conv = nullptr;                                     // (L, E, 1, K)
  const Parameter* conv_bias = nullptr;                                // (L, E), or none
  const Parameter *dt_bias = nullptr, *a_log = nullptr, *d = nullptr;  // (L, H)
  const Parameter* norm = nullptr;                                     // (L, I)
};

// The state of a wave's cells: the last K - 1 rows of [x | b | c] before the convolution, tail_GBKE, and s_GBHPN
// (wide).
struct Mamba2State {
  Var tail, s;
};

struct Mamba2Output {
  Var o;  // (G, B, T, I)
  Mamba2State state;
};

// zxbc_GBT(I + E) = [z | x | b | c] and dt_GBTH (wide), which feed no other op. The new state is written to tail_out
// and s_out, which without a record may be the old one's memory. Rows beyond cells.rows are padding: they reach no
// state, and get no gradient where o's is zero in them; x, b, c and dt are not read there.
Mamba2Output mamba2(Context& ctx, const Var& zxbc, const Var& dt, const Mamba2State& state,
                    const Mamba2Weights& weights, const kernels::SsdShape& shape, const kernels::GatedNorm& norm,
                    const kernels::Cells& cells, const Tensor& tail_out, const Tensor& s_out);

}  // namespace wt::ops
