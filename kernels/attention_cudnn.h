// Attention by cuDNN's fused kernels, for the shapes that it takes. Interface and shapes as in kernels/attention.h.
#pragma once

#include "kernels/attention.h"

namespace wt::kernels::cuda {

// bf16, a head width that is a multiple of 8 up to 128, and more than one row: its backward refuses a single one.
bool cudnn_attends(DType dtype, const AttentionHeads& heads, std::int64_t rows);

// Reads q, k and v where they lie in the rows of qkv, without copies. The first call of a shape builds its plan, which
// takes milliseconds to seconds; later calls only enqueue, so that a CUDA graph can capture them.
void cudnn_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                             const Tensor& lse);

// Attention over texts in caches (kernels/text_attention.h), whose cells count as samples. The GPU's memory says how
// many rows each sample has, i32 (B), and at which element they begin, i64 (B + 1) with one for the end. What other
// texts, or nobody, left in the caches is not seen.
struct TextPlaces {
  Tensor num_queries, num_keys;
  Tensor query_offsets, key_offsets, out_offsets;
};
// Samples that one call takes, of such a cache; 0: none.
std::int64_t cudnn_text_samples(DType dtype, const AttentionHeads& heads, std::int64_t rows, std::int64_t capacity);

// Samples [first, first + count), which the places are of. The caches hold the new rows already. Writes nothing to
// `out` for rows that are not in use.
void cudnn_text_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                                  const Tensor& keys, const Tensor& values, std::int64_t first, std::int64_t count,
                                  const TextPlaces& places, const Tensor& out, const Tensor& lse);

// Plans that are kept: those used last.
std::size_t cudnn_plans();

// Deterministic: keeps the gradients of the scores in a workspace, at most about 1 GiB of them at once (or four
// samples').
void cudnn_attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv);

}  // namespace wt::kernels::cuda
