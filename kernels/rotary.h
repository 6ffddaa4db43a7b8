// Rotary position embedding, rotate-half form. Source: Su et al., "RoFormer" (arXiv 2104.09864), in Llama's layout:
// element i is paired with element i + K/2, and both turn by the angle position · inv_freq[i].
//   x'_i       = x_i cos - x_{i+K/2} sin
//   x'_{i+K/2} = x_{i+K/2} cos + x_i sin
// Legend: G layers, B samples, T rows, K head width.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// Turns the first `heads` heads of every row of qkv_GBTW in place; W >= heads · K. cos_sin is (entries, K): cosines,
// then sines, of K/2 angles each. Row t of sample b is turned by entry first[b] + t, where first is (B) or, with one
// for every layer, (G, B); by entry t where it is undefined. An entry that the table does not have is an Error, on CUDA
// at the stream's next wait (core/cuda.h: Fault). `inverse` turns back, which is the gradient: the rotation is
// orthogonal.
void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first,
            bool inverse);

}  // namespace wt::kernels
