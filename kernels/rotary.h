// Rotary position embedding, rotate-half form. Source: Su et al., "RoFormer" (arXiv 2104.09864), in Llama's layout:
// element i is paired with element i + R/2, and both turn by the angle position · inv_freq[i].
//   x'_i       = x_i cos - x_{i+R/2} sin
//   x'_{i+R/2} = x_{i+R/2} cos + x_i sin
// Of a wider head the elements from R on stay as they are (partial rotary).
// Legend: G layers, B samples, T rows, K head width, R <= K elements of a head that turn.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// What few callers ask for.
struct RotaryOptions {
  std::int64_t head_width = 0;  // K; 0: R
  // Of texts that are read segment by segment: cell (g, b)'s rows turn by past_GB (i32) positions more than their
  // entries say, at these frequencies_(R/2) (f64, radians). Cosine and sine of past · frequency are computed in f64
  // and composed with the entry's: at position ten million 2e-7 off in f32, without a table that long.
  Tensor frequencies{}, past{};
};

// Turns the first `heads` heads of every row of qkv_GBTW in place; W >= heads · K. cos_sin is (entries, R): cosines,
// then sines, of R/2 angles each. Row t of sample b is turned by entry first[b] + t, where first is (B) or, with one
// for every layer, (G, B); by entry t where it is undefined. An entry that the table does not have is an Error, on CUDA
// at the stream's next wait (core/cuda.h: Fault). `inverse` turns back, which is the gradient: the rotation is
// orthogonal.
void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first,
            bool inverse, const RotaryOptions& options = {});

}  // namespace wt::kernels
