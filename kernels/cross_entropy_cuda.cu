// One block per row, which it reads once. Rows of an odd vocabulary start anywhere, so they are cut where addresses are
// multiples of 16 bytes: the first and last pieces of a row may hold elements that are not the row's.
#include <cfloat>
#include <cmath>

#include "kernels/cross_entropy.h"
#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {
namespace {

// Elements [begin, begin + N) of a row of v, -inf outside of it. `begin` is aligned (in memory) and may be negative.
template <int N, class T>
__device__ void load_inside(const T* row, std::int64_t begin, std::int64_t v, float (&x)[N]) {
  if (begin >= 0 && begin + N <= v) {
    load<N>(row + begin, x);
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = begin + i >= 0 && begin + i < v ? to_float(row[begin + i]) : -INFINITY;
}

// PIECES of them, `stride` elements apart. Away from the row's ends nothing stands between the loads.
template <int N, int PIECES, class T>
__device__ void load_pieces(const T* row, std::int64_t first, std::int64_t stride, std::int64_t v,
                            float (&x)[PIECES][N]) {
  if (first >= 0 && first + (PIECES - 1) * stride + N <= v) {
#pragma unroll
    for (int u = 0; u < PIECES; ++u) load<N>(row + first + u * stride, x[u]);
    return;
  }
#pragma unroll
  for (int u = 0; u < PIECES; ++u) load_inside<N>(row, first + u * stride, v, x[u]);
}

// `phase`: elements from the last aligned address before the logits to their first.
template <class T, int THREADS>
__global__ void __launch_bounds__(THREADS)
    forward(std::int64_t v, int phase, const T* logits, const std::int32_t* target, float* loss, float* lse,
            std::uint8_t* correct, std::int32_t* fault) {
  constexpr int N = kVec<T>, kPieces = 16 / N;  // per thread and turn
  __shared__ float scratch[2][THREADS / 32];
  const std::int64_t r = blockIdx.x;
  const T* row = logits + r * v;
  const std::int64_t id = target[r];
  const bool valid = id >= 0 && id < v;
  const float goal = valid ? to_float(row[id]) : 0.0f;
  // Σ e^{x - top} over what the thread has seen; -FLT_MAX rather than -inf, whose differences are NaN.
  float top = -FLT_MAX, sum = 0;
  bool tied = false;  // an earlier logit is as large as the target's
  const auto shift = static_cast<int>((phase + r * v) % N);
  for (std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * N - shift; first < v;
       first += THREADS * N * kPieces) {
    float x[kPieces][N];
    load_pieces(row, first, THREADS * N, v, x);
    float larger = top;
#pragma unroll
    for (int u = 0; u < kPieces; ++u) {
      float largest = x[u][0];
#pragma unroll
      for (int i = 1; i < N; ++i) largest = fmaxf(largest, x[u][i]);
      larger = fmaxf(larger, largest);
      const std::int64_t begin = first + u * THREADS * N;
      if (largest >= goal && begin < id) {
#pragma unroll
        for (int i = 0; i < N; ++i) tied = tied || (x[u][i] == goal && begin + i >= 0 && begin + i < id);
      }
    }
    sum *= __expf(top - larger);
    top = larger;
#pragma unroll
    for (int u = 0; u < kPieces; ++u) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += __expf(x[u][i] - top);
    }
  }
  const float largest = block_max<THREADS>(top, scratch[0]);
  const float total = block_sum<THREADS>(sum * __expf(top - largest), scratch[1]);
  const bool beaten = __syncthreads_or(tied) != 0 || largest != goal;
  if (threadIdx.x != 0) return;
  if (!valid) report(fault, Fault::kTargetId);
  const float log_sum = largest + logf(total);
  lse[r] = log_sum;
  loss[r] = valid ? log_sum - goal : 0.0f;
  correct[r] = valid && !beaten;
}

constexpr int kBackwardThreads = 256, kBackwardPieces = 4;

// A block takes slice blockIdx.x % slices of its row.
template <class T, class D, int N>
__global__ void __launch_bounds__(kBackwardThreads)
    backward(std::int64_t v, int phase, std::int64_t slices, const float* dloss, const T* logits,
             const std::int32_t* target, const float* lse, D* dlogits) {
  const std::int64_t r = blockIdx.x / slices;
  const T* row = logits + r * v;
  D* grad = dlogits + r * v;
  const std::int64_t id = target[r];
  const float scale = id >= 0 && id < v ? dloss[r] : 0.0f, log_sum = lse[r];
  const std::int64_t shift = (phase + r * v) % N;
  const std::int64_t first = (blockIdx.x % slices * kBackwardPieces * kBackwardThreads + threadIdx.x) * N - shift;
  if (first >= v) return;
  float x[kBackwardPieces][N];
  load_pieces(row, first, kBackwardThreads * N, v, x);
#pragma unroll
  for (int u = 0; u < kBackwardPieces; ++u) {
    const std::int64_t begin = first + u * kBackwardThreads * N;
#pragma unroll
    for (int i = 0; i < N; ++i) x[u][i] = (__expf(x[u][i] - log_sum) - (begin + i == id ? 1.0f : 0.0f)) * scale;
    if (begin >= 0 && begin + N <= v) {
      store<N>(grad + begin, x[u]);
      continue;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (begin + i >= 0 && begin + i < v) grad[begin + i] = from_float<D>(x[u][i]);
    }
  }
}

// Elements from the last address that is a multiple of N elements to this one.
template <class T>
int phase_of(const T* data, int n) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(data) / sizeof(T) % static_cast<std::size_t>(n));
}

}  // namespace

void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& target, const Tensor& loss,
                           const Tensor& lse, const Tensor& correct) {
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  if (r == 0) return;
  dispatch_float("cross_entropy", logits.dtype(), [&]<class T>() {
    const T* x = data<T>(logits);
    const auto launch = [&]<int THREADS>() {
      forward<T, THREADS><<<grid_size(r), THREADS, 0, native(stream)>>>(
          v, phase_of(x, kVec<T>), x, target.data<std::int32_t>(), loss.data<float>(), lse.data<float>(),
          correct.data<std::uint8_t>(), wt::cuda::fault_word());
    };
    v > 8192 ? launch.template operator()<1024>() : launch.template operator()<256>();
  });
  check_launch("cross_entropy");
}

void cross_entropy_backward(const Stream& stream, const Tensor& dloss, const Tensor& logits, const Tensor& target,
                            const Tensor& lse, const Tensor& dlogits) {
  const char* op = "cross_entropy backward";
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  if (r == 0 || v == 0) return;
  dispatch_float(op, logits.dtype(), [&]<class T>() {
    dispatch_float(op, dlogits.dtype(), [&]<class D>() {
      const T* x = data<T>(logits);
      D* grad = data<D>(dlogits);
      const auto launch = [&]<int N>() {
        const std::int64_t slices = ceil_div(v + N - 1, kBackwardThreads * kBackwardPieces * N);
        backward<T, D, N><<<grid_size(r * slices), kBackwardThreads, 0, native(stream)>>>(
            v, phase_of(x, N), slices, dloss.data<float>(), x, target.data<std::int32_t>(), lse.data<float>(), grad);
      };
      // Both are cut at the same elements; only slices can make that impossible.
      constexpr int kWide = kVec < T >> kVec<D> ? kVec<T> : kVec<D>;
      phase_of(x, kWide) == phase_of(grad, kWide) ? launch.template operator()<kWide>()
                                                  : launch.template operator()<1>();
    });
  });
  check_launch(op);
}

}  // namespace wt::kernels::cuda
