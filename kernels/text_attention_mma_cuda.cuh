// What the kernels of text_attention_mma*_cuda.cu have in common.
//
// A block of four warps holds some rows and walks over those they meet, 64 at a time, while the next 64 are copied: in
// the forward pass query rows of all heads that share keys, then query rows of one head for their gradient, keys for
// theirs. Each warp has its own rows to the end, so that sums have a fixed order. Scores go to base two.
#pragma once

#include <cmath>

#include "kernels/attention_decode_cuda.cuh"
#include "kernels/mma_cuda.cuh"

namespace wt::kernels::cuda {

inline constexpr int kMmaThreads = 128;
inline constexpr int kMmaWarps = kMmaThreads / 32;
inline constexpr int kMmaTile = 64;  // rows that are copied at once
static_assert(kMmaTile == Stretches::kKeys && kMmaTile == 16 * kMmaWarps);
// Blocks that fill a large GPU, two to a multiprocessor.
inline constexpr std::int64_t kMmaBlocks = 264;
inline constexpr float kLog2E = 1.44269504f;

struct MmaProblem {
  const bf16 *qkv, *keys, *values;
  CacheRows cache;
  std::int64_t samples;
  int heads, key_heads, group, width, row_width;
  float scale;

  __device__ const bf16* row(std::int64_t sample, int row, int head) const {
    return qkv + (sample * cache.new_rows + row) * row_width + static_cast<std::int64_t>(head) * width;
  }
  __device__ std::int64_t out_row(std::int64_t sample, int row, int head) const {
    return ((sample * cache.new_rows + row) * heads + head) * width;
  }
  __device__ std::int64_t statistic(std::int64_t sample, int head, int row) const {
    return (sample * heads + head) * cache.new_rows + row;
  }
  // Row `row` of the text in the cache.
  __device__ std::int64_t cache_row(std::int64_t sample, const CacheRows::Place& place, int row, int key_head) const {
    return ((sample * cache.capacity + place.origin + row) * key_heads + key_head) * width;
  }
  __device__ int cache_width() const { return key_heads * width; }
};

template <int D>
inline constexpr int kMmaTileBytes = kMmaTile* SharedRows<D>::kRowBytes;

// Copies ROWS rows to shared memory; at(row) is where one lies, or null for zeros.
template <int D, int ROWS, class At>
__device__ inline void copy_rows(std::uint32_t to, int width, const bf16* anywhere, const At& at) {
  using Rows = SharedRows<D>;
  constexpr int kAtOnce = kMmaThreads / Rows::kPieces;
  const int piece = threadIdx.x % Rows::kPieces, first = threadIdx.x / Rows::kPieces;
#pragma unroll
  for (int i = 0; i < ROWS / kAtOnce; ++i) {
    const int row = first + i * kAtOnce;
    const bf16* const from = at(row);
    const bool there = from != nullptr && piece * 8 < width;
    copy_async(to + Rows::offset(row, piece), there ? from + piece * 8 : anywhere, there);
  }
}

// `count` rows `stride` apart, then zeros.
template <int D>
__device__ inline void copy_tile(std::uint32_t to, int width, const bf16* from, int stride, int count) {
  copy_rows<D, kMmaTile>(to, width, from, [&](int row) { return row < count ? from + row * stride : nullptr; });
}

__device__ inline void store_pair(bf16* to, float low, float high) {
  *reinterpret_cast<std::uint32_t*>(to) = pack_pair(low, high);
}

inline MmaProblem mma_problem(const Tensor& qkv, const AttentionHeads& heads, const CacheRows& rows, const Tensor& keys,
                              const Tensor& values) {
  return {data<bf16>(qkv),
          data<bf16>(keys),
          data<bf16>(values),
          rows,
          qkv.numel() / (heads.row_width() * rows.new_rows),
          static_cast<int>(heads.query),
          static_cast<int>(heads.key_value),
          static_cast<int>(heads.query / heads.key_value),
          static_cast<int>(heads.width),
          static_cast<int>(heads.row_width()),
          static_cast<float>(1 / std::sqrt(static_cast<double>(heads.width)))};
}

// Calls f.template operator()<D>() with D the smallest width of the kernels that holds this one.
template <class F>
void dispatch_mma_width(std::int64_t width, F&& f) {
  if (width <= 64) {
    f.template operator()<64>();
  } else {
    f.template operator()<128>();
  }
}

template <class... Parameters, class... Args>
void launch_mma(const char* op, const Stream& stream, void (*kernel)(Parameters...), std::int64_t blocks,
                int shared_bytes, const Args&... args) {
  WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
  kernel<<<grid_size(blocks), kMmaThreads, static_cast<std::size_t>(shared_bytes), native(stream)>>>(args...);
  check_launch(op);
}

}  // namespace wt::kernels::cuda
