// Attention over a text on tensor cores: bf16 heads whose width is a multiple of 8 up to 128. Shapes as in
// kernels/text_attention.h.
#pragma once

#include <initializer_list>

#include "kernels/cache_rows_cuda.cuh"

namespace wt::kernels::cuda {

bool mma_attends(DType dtype, const AttentionHeads& heads, std::initializer_list<Tensor> tensors);

// The caches hold the new rows already. The output of rows that are not in use is zero.
void mma_attention_forward(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                           const CacheRows& rows, const Tensor& keys, const Tensor& values, const Tensor& out,
                           const Tensor& lse);

// Writes dqkv for rows in use.
void mma_attention_backward(const char* op, const Stream& stream, const Tensor& dout, const Tensor& qkv,
                            const Tensor& out, const Tensor& lse, const AttentionHeads& heads, const CacheRows& rows,
                            const Tensor& keys, const Tensor& values, const Tensor& dkeys, const Tensor& dvalues,
                            const Tensor& dqkv);

}  // namespace wt::kernels::cuda
