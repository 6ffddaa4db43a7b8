#include <cmath>

#include "kernels/text_attention_mma_cuda.cuh"
#include "kernels/text_attention_mma_cuda.h"

namespace wt::kernels::cuda {
namespace {

// Over the four lanes that share a row of sums.
__device__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// A block: 64 M rows of (row, query head) of a key/value head, in that order, over all keys or a stretch of them.
template <int D, int M, bool kStretched>
__global__ void __launch_bounds__(kMmaThreads, 2) forward_kernel(MmaProblem p, bf16* out, float* lse, Stretches s) {
  constexpr int kRows = 16 * M * kMmaWarps;
  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t queries_at = shared_address(shared);
  const std::uint32_t keys_at = queries_at + kRows * SharedRows<D>::kRowBytes,
                      values_at = keys_at + 2 * kMmaTileBytes<D>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  const std::int64_t pairs = p.samples * p.key_heads;
  const int stretch = kStretched ? static_cast<int>(blockIdx.x % s.count) : 0;
  const std::int64_t task = kStretched ? blockIdx.x / s.count : blockIdx.x;
  const std::int64_t tiles = (kStretched ? gridDim.x / s.count : gridDim.x) / pairs, pair = task % pairs;
  const std::int64_t sample = pair / p.key_heads;
  const int key_head = static_cast<int>(pair % p.key_heads);
  // The last rows have most keys: they go first.
  const int first = static_cast<int>(tiles - 1 - task / pairs) * kRows;
  const CacheRows::Place place = p.cache.of(sample);
  const int used = place.rows * p.group, all = p.cache.new_rows * p.group;
  int begin = 0, end = place.before + min((first + kRows - 1) / p.group + 1, place.rows);
  if constexpr (kStretched) {
    const int chunk = s.chunk(place);
    begin = stretch * chunk;
    end = min(end, begin + chunk);
    if (first >= used || begin >= end) return;  // none of these rows attends this stretch
  }

  // A lane's rows: two of each 16.
  const auto row_of = [&](int m, int half) { return first + (warp * M + m) * 16 + half * 8 + lane / 4; };
  if constexpr (!kStretched) {
    if (first >= used) {
      for (int at = threadIdx.x; at < min(kRows, all - first) * p.width; at += kMmaThreads) {
        const int row = first + at / p.width;
        out[p.out_row(sample, row / p.group, key_head * p.group + row % p.group) + at % p.width] = from_float<bf16>(0);
      }
      return;
    }
  }
  copy_rows<D, kRows>(queries_at, p.width, p.qkv, [&](int i) -> const bf16* {
    const int row = first + i, t = row / p.group;
    return row < used ? p.row(sample, t, key_head * p.group + row - t * p.group) : nullptr;
  });
  const auto fetch = [&](int key) {
    const std::uint32_t stage = (key - begin) / kMmaTile % 2 * kMmaTileBytes<D>;
    const std::int64_t from = p.cache_row(sample, place, key, key_head);
    copy_tile<D>(keys_at + stage, p.width, p.keys + from, p.cache_width(), end - key);
    copy_tile<D>(values_at + stage, p.width, p.values + from, p.cache_width(), end - key);
  };
  fetch(begin);

  float acc[M][D / 8][4] = {}, top[M][2], sum[M][2] = {};
  int last[M][2];  // key that a row attends
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      top[m][half] = -INFINITY;
      last[m][half] = min(place.before + row_of(m, half) / p.group, end - 1);
    }
  }
  const float scale = p.scale * kLog2E;
  const int full = place.before + first / p.group;  // keys up to here every row attends
#pragma unroll 1
  for (int key = begin; key < end; key += kMmaTile) {
    wait_for_copies();
    __syncthreads();
    if (key + kMmaTile < end) fetch(key + kMmaTile);
    const std::uint32_t stage = (key - begin) / kMmaTile % 2 * kMmaTileBytes<D>;
    float scores[M][kMmaTile / 8][4] = {};
    multiply_rows<D, M, kMmaTile / 16>(queries_at, warp * M * 16, keys_at + stage, scores);
    if (key + kMmaTile - 1 > min(full, end - 1)) {
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            if (key + n * 8 + lane % 4 * 2 + e % 2 > last[m][e / 2]) scores[m][n][e] = -INFINITY;
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = top[m][half];
#pragma unroll
        for (int n = 0; n < kMmaTile / 8; ++n) {
          largest = fmaxf(largest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        }
        largest = quad_max(largest);
        // Of a whole text every row attends the first key; of a stretch it may attend none.
        const float zero = kStretched && largest == -INFINITY ? 0 : largest * scale;
        const float factor = power_of_two(top[m][half] * scale - zero);
        top[m][half] = largest;
        sum[m][half] *= factor;
#pragma unroll
        for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            scores[m][n][e] = power_of_two(scores[m][n][e] * scale - zero);
            sum[m][half] += scores[m][n][e];
          }
        }
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
          acc[m][d][2 * half] *= factor;
          acc[m][d][2 * half + 1] *= factor;
        }
      }
    }
    std::uint32_t weights[M][kMmaTile / 16][4];
    as_weights<M, kMmaTile / 16>(scores, weights);
    multiply_weights<D, M, kMmaTile / 16>(weights, values_at + stage, acc);
  }

#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row_of(m, half), t = row / p.group, head = key_head * p.group + row - t * p.group;
      const float total = quad_sum(sum[m][half]);
      if (row >= all) continue;
      if constexpr (kStretched) {
        const std::int64_t slot = s.slot(pair, row, stretch);
        // Below any score where there is none.
        if (lane % 4 == 0) s.sums[slot] = {fmaxf(top[m][half] * p.scale, -1e37f), total};
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
          const int col = d * 8 + lane % 4 * 2;
          if (col < p.width) {
            *reinterpret_cast<float2*>(s.partial + slot * p.width + col) =
                float2{acc[m][d][2 * half], acc[m][d][2 * half + 1]};
          }
        }
      } else {
        const float factor = row < used ? 1 / total : 0;
        bf16* const to = out + p.out_row(sample, t, head);
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
          const int col = d * 8 + lane % 4 * 2;
          if (col < p.width) store_pair(to + col, acc[m][d][2 * half] * factor, acc[m][d][2 * half + 1] * factor);
        }
        if (lse != nullptr && row < used && lane % 4 == 0) {
          lse[p.statistic(sample, head, t)] = top[m][half] * p.scale + logf(total);
        }
      }
    }
  }
}

}  // namespace

bool mma_attends(DType dtype, const AttentionHeads& heads, std::initializer_list<Tensor> tensors) {
  bool fit = dtype == DType::kBF16 && heads.width % 8 == 0 && heads.width <= 128;
  for (const Tensor& tensor : tensors) fit = fit && reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0;
  return fit;
}

void mma_attention_forward(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                           const CacheRows& rows, const Tensor& keys, const Tensor& values, const Tensor& out,
                           const Tensor& lse) {
  const MmaProblem p = mma_problem(qkv, heads, rows, keys, values);
  const std::int64_t pairs = p.samples * p.key_heads, queries = static_cast<std::int64_t>(rows.new_rows) * p.group;
  float* const sums = lse.defined() ? data<float>(lse) : nullptr;
  dispatch_mma_width(heads.width, [&]<int D>() {
    const auto run = [&]<int M, bool kStretched>(const Stretches& stretches) {
      const std::int64_t blocks = ceil_div(queries, 64 * M) * pairs * stretches.count;
      launch_mma(op, stream, forward_kernel<D, M, kStretched>, blocks, (M + 4) * kMmaTileBytes<D>, p, data<bf16>(out),
                 sums, stretches);
    };
    const auto readers = [&](std::int64_t m) { return ceil_div(queries, 64 * m) * pairs; };
    if (readers(2) >= kMmaBlocks) return run.template operator()<2, false>({});
    // Fewer rows: small tiles, or their keys in stretches,.
    if (readers(1) >= kMmaBlocks) return run.template operator()<1, false>({});
    const bool wide_tiles = queries > 64;
    const StretchMemory memory = make_stretches(stream, heads, rows, p.samples, readers(wide_tiles ? 2 : 1));
    if (memory.stretches.count == 1) return run.template operator()<1, false>({});
    if (wide_tiles) {
      run.template operator()<2, true>(memory.stretches);
    } else {
      run.template operator()<1, true>(memory.stretches);
    }
    combine_stretches(op, stream, memory.stretches, p.samples, out, lse);
  });
}

}  // namespace wt::kernels::cuda
