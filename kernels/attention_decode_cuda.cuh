// Attention of few new rows over a cache: the keys are split over blocks, so that even one row of one sample keeps the
// whole GPU reading. Shapes as in kernels/attention.h and kernels/text_attention.h, whose cells count as samples.
#pragma once

#include "kernels/cache_rows_cuda.cuh"

namespace wt::kernels::cuda {

// One new row, or at most 16 query rows (new rows times query heads) for a key/value head.
bool decode_attends(const AttentionHeads& heads, std::int64_t rows);

// Puts the keys and values of the rows in use into the caches, too. lse and cos_sin may be undefined; the output of
// rows that are not in use is zero.
void decode_attention(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                      const CacheRows& rows, const Tensor& keys, const Tensor& values, const Tensor& out,
                      const Tensor& lse, const Tensor& cos_sin);

// Keys cut into stretches, for each of which a block keeps of every query row the largest score, the sum of the weights
// and the weighted values; a kernel puts them together in order.
struct Stretches {
  CacheRows cache;
  float* partial = nullptr;  // (sample, key head, query, stretch, width), with several stretches
  float2* sums = nullptr;    // largest score and sum of weights of each
  int count = 1;             // blocks launched for them
  int most = 1;              // that a text is cut into at most
  int queries = 0;           // rows times group, of a key/value head: query n is row n / group
  int heads = 0, key_heads = 0, group = 0, width = 0;

  // Keys of a stretch, which follow from the rows in the cache and not from its capacity: results are the same however
  // much further it may grow. There are no more than `count` stretches.
  __device__ int chunk(const CacheRows::Place& place) const {
    return ((place.end() + most - 1) / most + kKeys - 1) / kKeys * kKeys;
  }
  __device__ std::int64_t slot(std::int64_t pair, int query, int stretch) const {
    return (pair * queries + query) * count + stretch;
  }

  // Keys that are worth a block.
  static constexpr int kKeys = 64;
};

// Stretches enough for `readers` blocks each to fill a large GPU, and their memory.
struct StretchMemory {
  Stretches stretches;
  Tensor partial, sums;
};
StretchMemory make_stretches(const Stream& stream, const AttentionHeads& heads, const CacheRows& rows,
                             std::int64_t samples, std::int64_t readers);

void combine_stretches(const char* op, const Stream& stream, const Stretches& stretches, std::int64_t samples,
                       const Tensor& out, const Tensor& lse);

}  // namespace wt::kernels::cuda
