#include "kernels/linear_few_rows_cuda.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr std::int64_t kMaxRows = 4;
constexpr std::int64_t kMaxInputBytes = 64 << 10;  // of all rows, in shared memory

template <class T, class Y>
struct FewRows {
  const T* x;
  const T* w;
  const float* bias;  // null: none
  const Y* residual;  // null: none; may be y
  Y* y;
  int rows, inputs, outputs;
};

// The rows into shared memory. All threads of the block take part.
template <class T, class Y>
__device__ void stage(const FewRows<T, Y>& p, const T* x, T* staged) {
  constexpr int V = kVec<T>;
  for (int i = static_cast<int>(threadIdx.x) * V; i < p.rows * p.inputs; i += kThreads * V) {
    *reinterpret_cast<Packed<T, V>*>(staged + i) = load_packed<V>(x + i);
  }
  __syncthreads();
}

// A warp makes C neighbouring outputs. Its lanes share the inputs; kUnroll accesses to each row of weights are under
// way at once, the first of them before anything else is.
template <class T, class Y, int R, int C>
__global__ void __launch_bounds__(kThreads) few_rows_kernel(FewRows<T, Y> p) {
  constexpr int V = kVec<T>, kUnroll = 8 / C, kStep = 32 * V;
  extern __shared__ uint4 shared[];
  T* const staged = reinterpret_cast<T*>(shared);
  let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32) * C;
  const std::int64_t layer = blockIdx.y;
  const T* const w = p.w + (layer * p.outputs + first) * p.inputs;

  Packed<T, V> weights[kUnroll][C];
  const auto fetch = [&](int begin) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * kStep;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        weights[u][c] = i < p.inputs && first + c < p.outputs
                            ? load_packed<V>(w + static_cast<std::int64_t>(c) * p.inputs + i)
                            : Packed<T, V>{};
      }
    }
  };
  fetch(lane * V);
  wait_for_previous();
  stage(p, p.x + layer * p.rows * p.inputs, staged);

  float acc[R][C] = {};
  for (int begin = lane * V; begin < p.inputs; begin += kUnroll * kStep) {
    if (begin != lane * V) fetch(begin);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * kStep;
      if (i >= p.inputs) continue;
      float weight[C][V];
#pragma unroll
      for (int c = 0; c < C; ++c) weights[u][c].unpack(weight[c]);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (r >= p.rows) continue;
        float in[V];
        reinterpret_cast<const Packed<T, V>*>(staged + r * p.inputs + i)->unpack(in);
#pragma unroll
        for (int c = 0; c < C; ++c) {
#pragma unroll
          for (int v = 0; v < V; ++v) acc[r][c] += in[v] * weight[c][v];
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
#pragma unroll
    for (int c = 0; c < C; ++c) {
      float sum = warp_sum(acc[r][c]);
      if (lane != 0 || r >= p.rows || first + c >= p.outputs) continue;
      const std::int64_t at = (layer * p.rows + r) * p.outputs + first + c;
      if (p.bias != nullptr) sum += p.bias[layer * p.outputs + first + c];
      if (p.residual != nullptr) sum += to_float(p.residual[at]);
      p.y[at] = from_float<Y>(sum);
    }
  }
}

template <class T, class Y, int R, int C>
void launch(const Stream& stream, const FewRows<T, Y>& p, std::int64_t layers) {
  const auto kernel = few_rows_kernel<T, Y, R, C>;
  static const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kMaxInputBytes));
  WT_CUDA(allowed);
  const dim3 grid(static_cast<unsigned>(ceil_div(p.outputs, kWarps * C)), static_cast<unsigned>(layers));
  launch_early("linear", kernel, grid, kThreads,
               sizeof(T) * static_cast<std::size_t>(p.rows) * static_cast<std::size_t>(p.inputs), stream, p);
}

}  // namespace

bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& residual,
                     const Tensor& y) {
  const std::int64_t g = x.dim(0), r = x.dim(1), i = x.dim(2), o = w.dim(1);
  const auto size = static_cast<std::int64_t>(size_of(x.dtype()));
  if (r < 1 || r > kMaxRows || g > 65535 || i * size % 16 != 0 || r * i * size > kMaxInputBytes ||
      o > std::int64_t{1} << 30 || !aligned(x.raw(), w.raw())) {
    return false;
  }
  dispatch_float("linear", x.dtype(), [&]<class T>() {
    dispatch_float("linear", y.dtype(), [&]<class Y>() {
      const FewRows<T, Y> p{data<T>(x),
                            data<T>(w),
                            bias.defined() ? bias.data<float>() : nullptr,
                            residual.defined() ? data<Y>(residual) : nullptr,
                            data<Y>(y),
                            static_cast<int>(r),
                            static_cast<int>(i),
                            static_cast<int>(o)};
      const auto run = [&]<int R>() {
        if (o * g >= 16384) {  // two outputs a warp where that leaves enough warps to fill the GPU
          launch<T, Y, R, 2>(stream, p, g);
        } else {
          launch<T, Y, R, 1>(stream, p, g);
        }
      };
      if (r == 1) {
        run.template operator()<1>();
      } else {
        run.template operator()<kMaxRows>();
      }
    });
  });
  return true;
}

}  // namespace wt::kernels::cuda
