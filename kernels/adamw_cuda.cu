#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "core/split_float.h"
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
  return grid_size(ceil_div(n, kThreads * width));
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
  __shared__ double scratch[kThreads / 32];
  sum = block_sum<kThreads>(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) sum_partial(int count, const double* partial, double* out) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) sum += partial[i];
  __shared__ double scratch[kThreads / 32];
  sum = block_sum<kThreads>(sum, scratch);
  if (threadIdx.x == 0) *out = sum;
}

struct Coefficients {
  float lr, beta1, rest1, beta2, rest2, correct1, correct2, eps, decay, scale, limit;
};

// Weights as they are stored: f32, or in two halves.
struct WholeWeights {
  float* __restrict__ w;
  template <int K>
  __device__ void read(std::int64_t i, float (&to)[K]) const {
    load<K>(w + i, to);
  }
  template <int K>
  __device__ void write(std::int64_t i, const float (&from)[K]) const {
    store<K>(w + i, from);
  }
};
struct SplitWeights {
  std::uint16_t* __restrict__ high;
  std::int16_t* __restrict__ low;
  template <int K>
  __device__ void read(std::int64_t i, float (&to)[K]) const {
    const auto h = *reinterpret_cast<const Vec<std::uint16_t, K>*>(high + i);
    const auto l = *reinterpret_cast<const Vec<std::int16_t, K>*>(low + i);
#pragma unroll
    for (int j = 0; j < K; ++j) to[j] = join_float({h.v[j], l.v[j]});
  }
  template <int K>
  __device__ void write(std::int64_t i, const float (&from)[K]) const {
    Vec<std::uint16_t, K> h;
    Vec<std::int16_t, K> l;
#pragma unroll
    for (int j = 0; j < K; ++j) {
      const SplitFloat halves = split_float(from[j]);
      h.v[j] = halves.high;
      l.v[j] = halves.low;
    }
    *reinterpret_cast<Vec<std::uint16_t, K>*>(high + i) = h;
    *reinterpret_cast<Vec<std::int16_t, K>*>(low + i) = l;
  }
};

template <int N, class Weights>
__global__ void __launch_bounds__(kThreads) update(std::int64_t n, Coefficients o, const float* __restrict__ dw,
                                                   float* __restrict__ m, float* __restrict__ v, Weights w) {
  each_piece<N>(n, [=]<int K>(std::int64_t i) {
    float grad[K], first[K], second[K], weight[K];
    load<K>(dw + i, grad);
    load<K>(m + i, first);
    load<K>(v + i, second);
    w.template read<K>(i, weight);
#pragma unroll
    for (int j = 0; j < K; ++j) {
      grad[j] *= o.scale;
      // Comparisons, not fminf and fmaxf, which would make a limit of a NaN.
      if (o.limit > 0) grad[j] = grad[j] > o.limit ? o.limit : grad[j] < -o.limit ? -o.limit : grad[j];
      first[j] = o.beta1 * first[j] + o.rest1 * grad[j];
      second[j] = o.beta2 * second[j] + o.rest2 * grad[j] * grad[j];
      const float step = first[j] * o.correct1 / (sqrtf(second[j] * o.correct2) + o.eps);
      weight[j] -= o.lr * (step + o.decay * weight[j]);
    }
    store<K>(m + i, first);
    store<K>(v + i, second);
    w.template write<K>(i, weight);
  });
}

}  // namespace

void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out) {
  const std::int64_t n = g.numel();
  const std::int64_t blocks = std::min(ceil_div(n, kThreads * 16), kMaxBlocks);
  const Tensor partial = Tensor::empty(stream, {blocks}, DType::kF64);
  if (blocks > 0) {
    dispatch_width({&g}, [&]<int N>() {
      sum_squares<N><<<grid_size(blocks), kThreads, 0, native(stream)>>>(n, g.data<float>(), partial.data<double>());
    });
    check_launch("sum_of_squares");
  }
  sum_partial<<<1, kThreads, 0, native(stream)>>>(static_cast<int>(blocks), partial.data<double>(), out.data<double>());
  check_launch("sum_of_squares");
}

void adamw(const Stream& stream, const AdamWStep& options, const Tensor& dw, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& low) {
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
                       static_cast<float>(options.decay),
                       static_cast<float>(options.scale),
                       static_cast<float>(options.limit)};
  dispatch_width({&dw, &m, &v, &w, &low}, [&]<int N>() {
    const auto run = [&](auto weights) {
      update<N><<<piece_blocks(n, N), kThreads, 0, native(stream)>>>(n, o, dw.data<float>(), m.data<float>(),
                                                                     v.data<float>(), weights);
    };
    if (low.defined()) {
      run(SplitWeights{static_cast<std::uint16_t*>(w.raw()), low.data<std::int16_t>()});
    } else {
      run(WholeWeights{w.data<float>()});
    }
  });
  check_launch("adamw");
}

}  // namespace wt::kernels::cuda
