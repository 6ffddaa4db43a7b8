#include "kernels/cuda_common.cuh"
#include "kernels/linear_few_rows_cuda.h"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr std::int64_t kMaxRows = 4;

// A warp makes C neighbouring outputs of R rows; its lanes share the inputs. kUnroll accesses of each output's weights
// are under way at once.
template <class T, class Y, int R, int C>
__global__ void __launch_bounds__(kThreads)
    few_rows_kernel(const T* __restrict__ x, const T* __restrict__ w, const Y* residual, Y* y, int rows, int inputs,
                    int outputs) {
  constexpr int V = kVec<T>, kUnroll = 8 / C, kStep = 32 * V;
  const int lane = threadIdx.x % 32;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32) * C;
  if (first >= outputs) return;
  const std::int64_t layer = blockIdx.y;
  x += layer * rows * inputs;
  w += (layer * outputs + first) * inputs;

  float acc[R][C] = {};
  for (int begin = lane * V; begin < inputs; begin += kUnroll * kStep) {
    Vec<T, V> weights[kUnroll][C];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * kStep;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        weights[u][c] = i < inputs && first + c < outputs
                            ? *reinterpret_cast<const Vec<T, V>*>(w + static_cast<std::int64_t>(c) * inputs + i)
                            : Vec<T, V>{};
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * kStep;
      if (i >= inputs) continue;
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (r >= rows) continue;
        float in[V];
        load<V>(x + static_cast<std::int64_t>(r) * inputs + i, in);
#pragma unroll
        for (int c = 0; c < C; ++c) {
#pragma unroll
          for (int v = 0; v < V; ++v) acc[r][c] += in[v] * to_float(weights[u][c].v[v]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const float sum = warp_sum(acc[r][c]);
      if (lane != 0 || r >= rows || first + c >= outputs) continue;
      const std::int64_t at = (layer * rows + r) * outputs + first + c;
      y[at] = from_float<Y>(residual == nullptr ? sum : sum + to_float(residual[at]));
    }
  }
}

bool aligned(const Tensor& t) {
  return reinterpret_cast<std::uintptr_t>(t.raw()) % 16 == 0;
}

}  // namespace

bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& residual, const Tensor& y) {
  const std::int64_t g = x.dim(0), r = x.dim(1), i = x.dim(2), o = y.dim(2);
  // f32 products of the CPU's precision, bf16 ones of the data's: both are wanted here.
  if (r < 1 || r > kMaxRows || i % (16 / static_cast<std::int64_t>(size_of(x.dtype()))) != 0 || g > 65535 ||
      o * i > std::int64_t{1} << 40 || !aligned(x) || !aligned(w)) {
    return false;
  }
  dispatch_float("linear", x.dtype(), [&]<class T>() {
    dispatch_float("linear", y.dtype(), [&]<class Y>() {
      const Y* added = residual.defined() ? data<Y>(residual) : nullptr;
      const auto run = [&]<int R, int C>() {
        const dim3 grid(static_cast<unsigned>(ceil_div(o, kWarps * C)), static_cast<unsigned>(g));
        few_rows_kernel<T, Y, R, C><<<grid, kThreads, 0, native(stream)>>>(
            data<T>(x), data<T>(w), added, data<Y>(y), static_cast<int>(r), static_cast<int>(i), static_cast<int>(o));
      };
      // Two outputs a warp where that leaves enough warps to fill the GPU.
      const bool pairs = o * g >= 8192;
      if (r == 1) {
        pairs ? run.template operator()<1, 2>() : run.template operator()<1, 1>();
      } else {
        pairs ? run.template operator()<kMaxRows, 2>() : run.template operator()<kMaxRows, 1>();
      }
    });
  });
  check_launch("linear");
  return true;
}

}  // namespace wt::kernels::cuda
