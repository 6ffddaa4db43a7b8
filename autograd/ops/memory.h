// The associative memory's three ops. Equations and shapes: kernels/dpfp.h and kernels/memory.h.
#pragma once

#include "autograd/tape.h"
#include "kernels/memory.h"

namespace wt::ops {

// φ(x): x_..d -> phi_..(2νd).
Var dpfp(Context& ctx, const Var& x, std::int64_t nu);

// The state of the memory of a wave's cells, A_GBPD and z_GBP.
struct MemoryState {
  Var a, z;
};

// y = x + (φ A) / (φ·z + 1e-5). x_GBTD, phi_GBTP -> y_GBTD. min_den: kernels/memory.h.
Var memory_read(Context& ctx, const Var& x, const Var& phi, const MemoryState& state, const kernels::Cells& cells,
                const Tensor& min_den);

// The delta-rule write of keys_GBMP, values_GBMD with strengths sigmoid(logits_GBM1). The new state is written to a_out
// and z_out, which without a record may be the old one's memory.
MemoryState memory_write(Context& ctx, const Var& keys, const Var& values, const Var& logits, const MemoryState& state,
                         const kernels::Cells& cells, bool correction, const Tensor& a_out, const Tensor& z_out,
                         const Tensor& min_den);

}  // namespace wt::ops
