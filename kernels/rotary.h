// Rotary position embedding, rotate-half form. Source: Su et al., "RoFormer" (arXiv 2104.09864), in Llama's layout:
// element i is paired with element i + K/2, and both turn by the angle position · inv_freq[i].
//   x'_i       = x_i cos - x_{i+K/2} sin
//   x'_{i+K/2} = x_{i+K/2} cos + x_i sin
// Legend: G layers, B samples, T rows, K head width.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// Turns the first `heads` heads of every row of qkv_GBTW in place; W >= heads · K. Row t of sample b stands at position
// first_position_B[b] + t (t where the tensor is undefined). cos_sin is (positions, K): cosines, then sines, of the
// K/2 angles. `inverse` turns back, which is the gradient: the rotation is orthogonal.
void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin,
            const Tensor& first_position, bool inverse);

}  // namespace wt::kernels
