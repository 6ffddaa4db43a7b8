#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "kernels/adamw.h"
#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 1024;  // of the sum of squares: about as many as the GPU holds

// Calls f.template operator()<N>(): four elements at a time where every address allows it, else one.
template <class F>
void dispatch_width(std::initializer_list<const Tensor*> tensors, F&& f) {
  bool whole = true;
  for (const Tensor* t : tensors) {
    if (t->defined()) whole = whole && reinterpret_cast<std::uintptr_t>(t->raw()) % (4 * size_of(t->dtype())) == 0;
  }
  if (whole) {
    f.template operator()<4>();
  } else {
    f.template operator()<1>();
  }
}

// Body.template operator()<K>(i) for the thread's elements [i, i + K) of n: N at once, at the end one by one.
template <int N, class Body>
__device__ void each_piece(std::int64_t n, const Body& body) {
  const std::int64_t begin = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (begin + N <= n) {
    body.template operator()<N>(begin);
  } else {
    for (std::int64_t i = begin; i < n; ++i) body.template operator()<1>(i);
  }
}
unsigned piece_blocks(std::int64_t n, int width) {
  return static_cast<unsigned>(ceil_div(n, kThreads * width));
}

// Sum over the block, in a fixed order; the first thread gets it.
__device__ double sum_block(double x) {
  __shared__ double sums[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_down_sync(0xffffffffu, x, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) sum += sums[i];
  return sum;
}

template <int N>
__global__ void __launch_bounds__(kThreads) sum_squares(std::int64_t n, const float* g, double* partial) {
  constexpr int kLoads = 4;  // under way at once
  const std::int64_t pieces = n / N, step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  double sum = 0;
  for (std::int64_t first = thread; first < pieces; first += kLoads * step) {
    float x[kLoads][N] = {};
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      if (first + u * step < pieces) load<N>(g + (first + u * step) * N, x[u]);
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += static_cast<double>(x[u][i]) * static_cast<double>(x[u][i]);
    }
  }
  if (const std::int64_t last = pieces * N + thread; last < n) sum += static_cast<double>(g[last]) * g[last];
  sum = sum_block(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) sum_partial(int count, const double* partial, double* out) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) sum += partial[i];
  sum = sum_block(sum);
  if (threadIdx.x == 0) *out = sum;
}

template <int N>
__global__ void __launch_bounds__(kThreads) scale_clip(std::int64_t n, float scale, float limit, float* g) {
  each_piece<N>(n, [=]<int K>(std::int64_t i) {
    float x[K];
    load<K>(g + i, x);
#pragma unroll
    for (int j = 0; j < K; ++j) {
      x[j] *= scale;
      // Comparisons, not fminf and fmaxf, which would make a limit of a NaN.
      if (limit > 0) x[j] = x[j] > limit ? limit : x[j] < -limit ? -limit : x[j];
    }
    store<K>(g + i, x);
  });
}

struct Coefficients {
  float lr, beta1, rest1, beta2, rest2, correct1, correct2, eps, decay;
};

// `rounded` may be null.
template <int N>
__global__ void __launch_bounds__(kThreads)
    update(std::int64_t n, Coefficients o, const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v,
           float* __restrict__ w, bf16* __restrict__ rounded) {
  each_piece<N>(n, [=]<int K>(std::int64_t i) {
    float grad[K], first[K], second[K], weight[K];
    load<K>(g + i, grad);
    load<K>(m + i, first);
    load<K>(v + i, second);
    load<K>(w + i, weight);
#pragma unroll
    for (int j = 0; j < K; ++j) {
      first[j] = o.beta1 * first[j] + o.rest1 * grad[j];
      second[j] = o.beta2 * second[j] + o.rest2 * grad[j] * grad[j];
      const float step = first[j] * o.correct1 / (sqrtf(second[j] * o.correct2) + o.eps);
      weight[j] -= o.lr * (step + o.decay * weight[j]);
    }
    store<K>(m + i, first);
    store<K>(v + i, second);
    store<K>(w + i, weight);
    if (rounded != nullptr) store<K>(rounded + i, weight);
  });
}

}  // namespace

void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out) {
  WT_CHECK(out.numel() == 1, "sum_of_squares: out is ", out, ", expected one element");
  const std::int64_t n = g.numel();
  const std::int64_t blocks = std::min(ceil_div(n, kThreads * 16), kMaxBlocks);
  const Tensor partial = Tensor::empty(stream, {blocks}, DType::kF64);
  if (blocks > 0) {
    dispatch_width({&g}, [&]<int N>() {
      sum_squares<N>
          <<<static_cast<unsigned>(blocks), kThreads, 0, native(stream)>>>(n, g.data<float>(), partial.data<double>());
    });
    check_launch("sum_of_squares");
  }
  sum_partial<<<1, kThreads, 0, native(stream)>>>(static_cast<int>(blocks), partial.data<double>(), out.data<double>());
  check_launch("sum_of_squares");
}

void scale_and_clip(const Stream& stream, const Tensor& g, double scale, double limit) {
  const std::int64_t n = g.numel();
  if (n == 0) return;
  dispatch_width({&g}, [&]<int N>() {
    scale_clip<N><<<piece_blocks(n, N), kThreads, 0, native(stream)>>>(n, static_cast<float>(scale),
                                                                       static_cast<float>(limit), g.data<float>());
  });
  check_launch("scale_and_clip");
}

void adamw(const Stream& stream, const AdamWStep& options, const Tensor& g, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& rounded) {
  WT_CHECK(g.shape() == w.shape() && m.shape() == w.shape() && v.shape() == w.shape(), "adamw: w is ", w, ", g ", g,
           ", m ", m, ", v ", v);
  WT_CHECK(!rounded.defined() || rounded.shape() == w.shape(), "adamw: w is ", w, ", rounded ", rounded);
  const std::int64_t n = w.numel();
  if (n == 0) return;
  const auto step = static_cast<double>(options.step);
  const Coefficients o{static_cast<float>(options.lr),
                       static_cast<float>(options.beta1),
                       static_cast<float>(1 - options.beta1),
                       static_cast<float>(options.beta2),
                       static_cast<float>(1 - options.beta2),
                       static_cast<float>(1 / (1 - std::pow(options.beta1, step))),
                       static_cast<float>(1 / (1 - std::pow(options.beta2, step))),
                       static_cast<float>(options.eps),
                       static_cast<float>(options.decay)};
  dispatch_width({&g, &m, &v, &w, &rounded}, [&]<int N>() {
    update<N><<<piece_blocks(n, N), kThreads, 0, native(stream)>>>(n, o, g.data<float>(), m.data<float>(),
                                                                   v.data<float>(), w.data<float>(),
                                                                   rounded.defined() ? data<bf16>(rounded) : nullptr);
  });
  check_launch("adamw");
}

}  // namespace wt::kernels::cuda
