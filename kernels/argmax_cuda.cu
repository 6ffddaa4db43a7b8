#include <algorithm>
#include <climits>
#include <cmath>

#include "kernels/argmax.h"
#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Few rows are cut into stretches of at least this many elements, as many as make about this many blocks.
constexpr std::int64_t kStretch = 4096;
constexpr std::int64_t kBlocks = 256;

// An element and its place. Starts as one that every number beats, even minus infinity.
struct Best {
  float value = -INFINITY;
  int index = INT_MAX;
  // Order does not matter: equal values go to the smaller index, and a NaN compares false.
  __device__ void offer(float x, int i) {
    if (x > value || (x == value && i < index)) {
      value = x;
      index = i;
    }
  }
};

// The best of the block, valid in thread 0.
__device__ Best best_of_block(Best best) {
  __shared__ Best of_warp[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float x = __shfl_xor_sync(0xffffffffu, best.value, offset);
    best.offer(x, __shfl_xor_sync(0xffffffffu, best.index, offset));
  }
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < kThreads / 32; ++i) best.offer(of_warp[i].value, of_warp[i].index);
  }
  return best;
}

// A block per stretch of a row.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    argmax_kernel(const T* x, int* index, Best* stretches, std::int64_t width, std::int64_t stretch, int per_row) {
  const std::int64_t row = blockIdx.x / per_row, begin = blockIdx.x % per_row * stretch;
  const std::int64_t end = min(begin + stretch, width);
  x += row * width;
  Best best;
#pragma unroll 4
  for (std::int64_t at = begin + threadIdx.x * N; at < end; at += kThreads * N) {
    float v[N];
    load<N>(x + at, v);
#pragma unroll
    for (int e = 0; e < N; ++e) best.offer(v[e], static_cast<int>(at) + e);
  }
  best = best_of_block(best);
  if (threadIdx.x != 0) return;
  if (stretches != nullptr) {
    stretches[blockIdx.x] = best;
  } else {
    index[row] = best.index == INT_MAX ? 0 : best.index;
  }
}

// A block per row.
__global__ void __launch_bounds__(kThreads) combine_kernel(const Best* stretches, int* index, int per_row) {
  Best best;
  for (int i = threadIdx.x; i < per_row; i += kThreads) {
    const Best other = stretches[static_cast<std::int64_t>(blockIdx.x) * per_row + i];
    best.offer(other.value, other.index);
  }
  best = best_of_block(best);
  if (threadIdx.x == 0) index[blockIdx.x] = best.index == INT_MAX ? 0 : best.index;
}

}  // namespace

void argmax_rows(const Stream& stream, const Tensor& x, const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  WT_CHECK(v < INT_MAX, "argmax: x is ", x, ", its rows are too long");
  if (r == 0) return;
  const std::int64_t wanted = std::max<std::int64_t>(1, std::min(ceil_div(kBlocks, r), v / kStretch));
  // A multiple of any vector, so that a stretch starts where its row's alignment says.
  const std::int64_t stretch = ceil_div(ceil_div(v, wanted), 64) * 64, per_row = ceil_div(v, stretch);
  WT_CHECK(r * per_row < std::int64_t{1} << 31, "argmax: x is ", x, ", too many rows for one launch");
  Tensor scratch;
  Best* stretches = nullptr;
  if (per_row > 1) {
    scratch = Tensor::empty(stream, {r * per_row, 2}, DType::kI32);
    static_assert(sizeof(Best) == 2 * sizeof(std::int32_t));
    stretches = reinterpret_cast<Best*>(scratch.data<std::int32_t>());
  }
  int* to = index.data<std::int32_t>();
  dispatch_float("argmax", x.dtype(), [&]<class T>() {
    const auto blocks = grid_size(r * per_row);
    const bool vectors = v % kVec<T> == 0 && reinterpret_cast<std::uintptr_t>(x.raw()) % 16 == 0;
    const int parts = static_cast<int>(per_row);
    if (vectors) {
      argmax_kernel<T, kVec<T>><<<blocks, kThreads, 0, native(stream)>>>(data<T>(x), to, stretches, v, stretch, parts);
    } else {
      argmax_kernel<T, 1><<<blocks, kThreads, 0, native(stream)>>>(data<T>(x), to, stretches, v, stretch, parts);
    }
  });
  check_launch("argmax");
  if (per_row == 1) return;
  combine_kernel<<<grid_size(r), kThreads, 0, native(stream)>>>(stretches, to, static_cast<int>(per_row));
  check_launch("argmax");
}

}  // namespace wt::kernels::cuda
