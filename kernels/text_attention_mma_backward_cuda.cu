#include <algorithm>

#include "kernels/attention_tiles_cuda.h"
#include "kernels/text_attention_mma_cuda.cuh"
#include "kernels/text_attention_mma_cuda.h"

namespace wt::kernels::cuda {
namespace {

// A block: dq of 64 rows of one query head.
template <int D>
__global__ void __launch_bounds__(kMmaThreads, 2)
    query_kernel(MmaProblem p, const bf16* dout, const float* lse, const float* delta, bf16* dqkv) {
  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t queries_at = shared_address(shared), grads_at = queries_at + kMmaTileBytes<D>;
  const std::uint32_t keys_at = grads_at + kMmaTileBytes<D>, values_at = keys_at + 2 * kMmaTileBytes<D>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t pairs = p.samples * p.heads, pair = blockIdx.x % pairs, sample = pair / p.heads;
  const int head = static_cast<int>(pair % p.heads);
  const int first = static_cast<int>(gridDim.x / pairs - 1 - blockIdx.x / pairs) * kMmaTile;
  const CacheRows::Place place = p.cache.of(sample);
  if (first >= place.rows) return;
  const int end = place.before + min(first + kMmaTile, place.rows);

  copy_tile<D>(queries_at, p.width, p.row(sample, first, head), p.row_width, place.rows - first);
  copy_tile<D>(grads_at, p.width, dout + p.out_row(sample, first, head), p.heads * p.width, place.rows - first);
  const auto fetch = [&](int key) {
    const std::uint32_t stage = key / kMmaTile % 2 * kMmaTileBytes<D>;
    const std::int64_t from = p.cache_row(sample, place, key, head / p.group);
    copy_tile<D>(keys_at + stage, p.width, p.keys + from, p.cache_width(), end - key);
    copy_tile<D>(values_at + stage, p.width, p.values + from, p.cache_width(), end - key);
  };
  fetch(0);

  float acc[1][D / 8][4] = {}, log_sum[2] = {}, dot[2] = {};
  int last[2];  // key that a row attends; none where it is not in use
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + warp * 16 + half * 8 + lane / 4;
    last[half] = row < place.rows ? place.before + row : -1;
    if (row >= place.rows) continue;
    log_sum[half] = lse[p.statistic(sample, head, row)] * kLog2E;
    dot[half] = delta[p.statistic(sample, head, row)];
  }
  const float scale = p.scale * kLog2E;
#pragma unroll 1
  for (int key = 0; key < end; key += kMmaTile) {
    wait_for_copies();
    __syncthreads();
    if (key + kMmaTile < end) fetch(key + kMmaTile);
    const std::uint32_t stage = key / kMmaTile % 2 * kMmaTileBytes<D>;
    float scores[1][kMmaTile / 8][4] = {}, grads[1][kMmaTile / 8][4] = {};
    multiply_rows<D, 1, kMmaTile / 16>(queries_at, warp * 16, keys_at + stage, scores);
    multiply_rows<D, 1, kMmaTile / 16>(grads_at, warp * 16, values_at + stage, grads);
#pragma unroll
    for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool attends = key + n * 8 + lane % 4 * 2 + e % 2 <= last[e / 2];
        const float weight = attends ? power_of_two(scores[0][n][e] * scale - log_sum[e / 2]) : 0;
        scores[0][n][e] = weight * (grads[0][n][e] - dot[e / 2]);
      }
    }
    std::uint32_t weights[1][kMmaTile / 16][4];
    as_weights<1, kMmaTile / 16>(scores, weights);
    multiply_weights<D, 1, kMmaTile / 16>(weights, keys_at + stage, acc);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + warp * 16 + half * 8 + lane / 4;
    if (row >= place.rows) continue;
    bf16* const to = dqkv + (p.row(sample, row, head) - p.qkv);
#pragma unroll
    for (int d = 0; d < D / 8; ++d) {
      const int col = d * 8 + lane % 4 * 2;
      if (col < p.width) store_pair(to + col, acc[0][d][2 * half] * p.scale, acc[0][d][2 * half + 1] * p.scale);
    }
  }
}

// A block: dk and dv of tiles of 64 keys of one key/value head, summed over the query heads that read it, in order; a
// row of scores is a key here. `later_dk` and `later_dv` are what later segments gave to the cache's rows: older rows
// are added to them, new ones are complete with them. Without them older rows want nothing.
template <int D>
__global__ void __launch_bounds__(kMmaThreads, 2)
    key_value_kernel(MmaProblem p, const bf16* dout, const float* lse, const float* delta, float* later_dk,
                     float* later_dv, bf16* dqkv) {
  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t keys_at = shared_address(shared), values_at = keys_at + kMmaTileBytes<D>;
  const std::uint32_t queries_at = values_at + kMmaTileBytes<D>, grads_at = queries_at + 2 * kMmaTileBytes<D>;
  const std::uint32_t statistics_at = grads_at + 2 * kMmaTileBytes<D>;
  const float* const statistics = reinterpret_cast<const float*>(shared + 6 * kMmaTileBytes<D>);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t pairs = p.samples * p.key_heads, pair = blockIdx.x % pairs, sample = pair / p.key_heads;
  const int key_head = static_cast<int>(pair % p.key_heads);
  const CacheRows::Place place = p.cache.of(sample);
  const int end = place.end(), step = static_cast<int>(gridDim.x / pairs) * kMmaTile;
  const float scale = p.scale * kLog2E;
  // The first tiles have most queries.
  int first = static_cast<int>(blockIdx.x / pairs) * kMmaTile;
  if (later_dk == nullptr) first += place.before / kMmaTile * kMmaTile;
#pragma unroll 1
  for (; place.rows > 0 && first < end; first += step) {
    const std::int64_t from = p.cache_row(sample, place, first, key_head);
    __syncthreads();
    copy_tile<D>(keys_at, p.width, p.keys + from, p.cache_width(), end - first);
    copy_tile<D>(values_at, p.width, p.values + from, p.cache_width(), end - first);
    // Tiles of queries of one head after another.
    const int first_query = max(first - place.before, 0) / kMmaTile * kMmaTile;
    const int tiles = (place.rows - first_query + kMmaTile - 1) / kMmaTile, turns = tiles * p.group;
    const auto fetch = [&](int turn) {
      const int head = key_head * p.group + turn / tiles, query = first_query + turn % tiles * kMmaTile;
      const int count = place.rows - query;
      const std::uint32_t stage = turn % 2 * kMmaTileBytes<D>;
      copy_tile<D>(queries_at + stage, p.width, p.row(sample, query, head), p.row_width, count);
      copy_tile<D>(grads_at + stage, p.width, dout + p.out_row(sample, query, head), p.heads * p.width, count);
      const int row = threadIdx.x % kMmaTile;
      const float* const of = threadIdx.x < kMmaTile ? lse : delta;
      copy_word_async(statistics_at + (turn % 2 * kMmaThreads + threadIdx.x) * 4,
                      row < count ? of + p.statistic(sample, head, query + row) : of, row < count);
    };
    fetch(0);
    float dkey[1][D / 8][4] = {}, dvalue[1][D / 8][4] = {};
#pragma unroll 1
    for (int turn = 0; turn < turns; ++turn) {
      wait_for_copies();
      __syncthreads();
      if (turn + 1 < turns) fetch(turn + 1);
      const std::uint32_t stage = turn % 2 * kMmaTileBytes<D>;
      const float* const log_sums = statistics + turn % 2 * kMmaThreads;
      const float* const dots = log_sums + kMmaTile;
      const int query = first_query + turn % tiles * kMmaTile;
      float scores[1][kMmaTile / 8][4] = {}, grads[1][kMmaTile / 8][4] = {};
      multiply_rows<D, 1, kMmaTile / 16>(keys_at, warp * 16, queries_at + stage, scores);
#pragma unroll
      for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int col = n * 8 + lane % 4 * 2 + e % 2, key = first + warp * 16 + e / 2 * 8 + lane / 4;
          const bool attends = query + col < place.rows && key <= place.before + query + col;
          scores[0][n][e] = attends ? power_of_two(scores[0][n][e] * scale - log_sums[col] * kLog2E) : 0;
        }
      }
      std::uint32_t weights[1][kMmaTile / 16][4];
      as_weights<1, kMmaTile / 16>(scores, weights);
      multiply_weights<D, 1, kMmaTile / 16>(weights, grads_at + stage, dvalue);
      multiply_rows<D, 1, kMmaTile / 16>(values_at, warp * 16, grads_at + stage, grads);
#pragma unroll
      for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          scores[0][n][e] *= grads[0][n][e] - dots[n * 8 + lane % 4 * 2 + e % 2];
        }
      }
      as_weights<1, kMmaTile / 16>(scores, weights);
      multiply_weights<D, 1, kMmaTile / 16>(weights, queries_at + stage, dkey);
    }

    const auto store = [&](const float(&acc)[D / 8][4], int half, float factor, float* later, int head) {
      const int key = first + warp * 16 + half * 8 + lane / 4;
      if (key >= end || (key < place.before && later == nullptr)) return;
      float* const more = later == nullptr ? nullptr : later + p.cache_row(sample, place, key, key_head);
      bf16* const own = key < place.before ? nullptr : dqkv + (p.row(sample, key - place.before, head) - p.qkv);
#pragma unroll
      for (int d = 0; d < D / 8; ++d) {
        const int col = d * 8 + lane % 4 * 2;
        if (col >= p.width) continue;
        float2 sum{acc[d][2 * half] * factor, acc[d][2 * half + 1] * factor};
        if (more != nullptr) {
          const float2 base = *reinterpret_cast<const float2*>(more + col);
          sum.x += base.x;
          sum.y += base.y;
        }
        if (own != nullptr) {
          store_pair(own + col, sum.x, sum.y);
        } else {
          *reinterpret_cast<float2*>(more + col) = sum;
        }
      }
    };
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      store(dkey[0], half, p.scale, later_dk, p.heads + key_head);
      store(dvalue[0], half, 1, later_dv, p.heads + p.key_heads + key_head);
    }
  }
}

}  // namespace

void mma_attention_backward(const char* op, const Stream& stream, const Tensor& dout, const Tensor& qkv,
                            const Tensor& out, const Tensor& lse, const AttentionHeads& heads, const CacheRows& rows,
                            const Tensor& keys, const Tensor& values, const Tensor& dkeys, const Tensor& dvalues,
                            const Tensor& dqkv) {
  const MmaProblem p = mma_problem(qkv, heads, rows, keys, values);
  const Tensor delta = dout_dot_out(op, stream, dout, out, heads, rows);
  const auto later = [](const Tensor& grad) { return grad.defined() ? data<float>(grad) : nullptr; };
  const std::int64_t tiles = ceil_div(rows.new_rows, kMmaTile), pairs = p.samples * p.key_heads;
  // A block for each tile of new rows at least, and enough to fill a large GPU with those of the rows before them.
  const std::int64_t spread =
      std::max(tiles, std::min(ceil_div(rows.capacity, kMmaTile), ceil_div(2 * kMmaBlocks, pairs)));
  dispatch_mma_width(heads.width, [&]<int D>() {
    launch_mma(op, stream, query_kernel<D>, tiles * p.samples * p.heads, 6 * kMmaTileBytes<D>, p, data<bf16>(dout),
               data<float>(lse), data<float>(delta), data<bf16>(dqkv));
    launch_mma(op, stream, key_value_kernel<D>, spread * pairs, 6 * kMmaTileBytes<D> + 2 * kMmaThreads * 4, p,
               data<bf16>(dout), data<float>(lse), data<float>(delta), later(dkeys), later(dvalues), data<bf16>(dqkv));
  });
}

}  // namespace wt::kernels::cuda
