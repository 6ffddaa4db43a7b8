// Low-rank adapters beside a linear layer (Hu et al., "LoRA", arXiv 2106.09685), all parts of a fused matrix at once.
// Legend: G layers of the wave, R rows, I inputs, O outputs of the matrix, r rank, P adapted parts, H their outputs.
#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/linear.h"

namespace wt::ops {

// The parameters lie part behind part: a_L(Pr)I, b_LHr.
struct LowRank {
  const Parameter* a = nullptr;
  const Parameter* b = nullptr;
  double scale = 1;  // alpha / r
  // (L, H) i32: with the matrix's outputs as (L, O, P) blocks of r columns, the block that each row of b is, that of
  // its output and its part. Undefined where the one part has all outputs, and b is the matrix.
  Tensor blocks;
};

// y_G..O += scale · (x_G..I a_pᵀ) b_pᵀ in the outputs of each part p, in y's own memory. Two thin products beside the
// layer's: R r (I + O) instead of the R I O that the gradient of an effective weight W + scale · b a would cost, and
// the only form with dropout on x. The parts' b stand in one (O, Pr) matrix, zero elsewhere, since tensors have no
// strides: P r columns in place of r are still few. Merged weights are for files and inference (train/models/lora.h).
// `first`: y has the outputs from there on only (kernels/linear.h), which an adapter with blocks is not for.
Var low_rank(Context& ctx, const Var& x, const Var& y, const LowRank& adapter,
             std::int64_t first = kernels::kAllOutputs);

}  // namespace wt::ops
