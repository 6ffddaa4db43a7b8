// Attention in tiles of float32, for every dtype and width up to 256 and with or without a cache of keys and values:
// what neither cuDNN nor the tensor cores take. Shapes as in kernels/attention.h and kernels/text_attention.h, whose
// cells count as samples.
#pragma once

#include "kernels/cache_rows_cuda.cuh"

namespace wt::kernels::cuda {

// keys and values: caches that hold the new rows already; undefined: qkv itself. lse may be undefined. Writes nothing
// for rows that are not in use.
void tiled_attention_forward(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                             const Tensor& keys, const Tensor& values, const CacheRows& rows, const Tensor& out,
                             const Tensor& lse);

// dkeys and dvalues: of the caches, may be undefined. dqkv is written for rows in use.
void tiled_attention_backward(const char* op, const Stream& stream, const Tensor& dout, const Tensor& qkv,
                              const Tensor& out, const Tensor& lse, const AttentionHeads& heads, const Tensor& keys,
                              const Tensor& values, const CacheRows& rows, const Tensor& dkeys, const Tensor& dvalues,
                              const Tensor& dqkv);

// dout · out of every row in use, what the softmax's backward subtracts: (samples, H, T) f32.
Tensor dout_dot_out(const char* op, const Stream& stream, const Tensor& dout, const Tensor& out,
                    const AttentionHeads& heads, const CacheRows& rows);

}  // namespace wt::kernels::cuda
