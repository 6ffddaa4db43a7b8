// Gradients of parameters that many blocks sum: each writes a row of its own, and the rows are added in a fixed order.
#pragma once

#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {

// out_GD += Σ_c partial_GCD, in a fixed order.
inline constexpr int kPartialColumns = 32, kPartialTurns = 8;
static __global__ void __launch_bounds__(kPartialColumns* kPartialTurns)
    add_partials_kernel(const float* __restrict__ partial, std::int64_t chunks, std::int64_t width, float* out) {
  __shared__ float sums[kPartialTurns][kPartialColumns];
  const std::int64_t column = std::int64_t{blockIdx.x} * kPartialColumns + threadIdx.x;
  float sum = 0;
  if (column < width) {
#pragma unroll 4
    for (std::int64_t c = threadIdx.y; c < chunks; c += kPartialTurns) {
      sum += partial[(blockIdx.y * chunks + c) * width + column];
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width) return;
#pragma unroll
  for (int i = 1; i < kPartialTurns; ++i) sum += sums[i][threadIdx.x];
  out[blockIdx.y * width + column] += sum;
}
inline void add_partials(const Stream& stream, const float* partial, std::int64_t layers, std::int64_t chunks,
                         std::int64_t width, float* out) {
  const dim3 grid(grid_size(ceil_div(width, kPartialColumns)), grid_size(layers));
  add_partials_kernel<<<grid, dim3(kPartialColumns, kPartialTurns), 0, native(stream)>>>(partial, chunks, width, out);
}

}  // namespace wt::kernels::cuda
