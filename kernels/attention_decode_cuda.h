// Cached attention for few new rows: the keys are split over blocks, so that even one row of one sample keeps the whole
// GPU reading. Interface and shapes as attention_cached in kernels/attention.h.
#pragma once

#include "kernels/attention.h"

namespace wt::kernels::cuda {

// One new row, or at most 16 query rows (new rows times query heads) for a key/value head.
bool decode_attends(const AttentionHeads& heads, std::int64_t rows);

void decode_attention(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin);

}  // namespace wt::kernels::cuda
