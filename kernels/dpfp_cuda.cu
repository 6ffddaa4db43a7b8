#include "kernels/dpfp.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

struct Extents {
  std::int64_t rows, d, nu;
};

Extents extents_of(const Tensor& x, std::int64_t nu) {
  const std::int64_t d = x.shape()[-1];
  return {x.numel() / d, d, nu};
}

// u[i] of a row.
template <class T>
__device__ float rectified(const T* x, std::int64_t d, std::int64_t i) {
  const float value = i < d ? to_float(x[i]) : -to_float(x[i - d]);
  return value > 0 ? value : 0.0f;
}

// Access number q of u, of the 2d/N that it has.
template <int N, class T>
__device__ void load_rectified(const T* x, std::int64_t half, std::int64_t q, float* to) {
  const float sign = q < half ? 1.0f : -1.0f;
  float v[N];
  load_packed<N>(x + (q < half ? q : q - half) * N).unpack(v);
#pragma unroll
  for (int e = 0; e < N; ++e) to[e] = v[e] * sign > 0 ? v[e] * sign : 0.0f;
}

// A thread makes N neighbouring places of all nu products: for nu <= N they take two accesses of u.
template <class T>
__global__ void __launch_bounds__(kLoneThreads) forward_kernel(const T* x, Extents e, T* phi) {
  let_next_begin();
  wait_for_previous();  // x may be written until here, so it is not promised to be constant
  constexpr int N = kVec<T>;
  const std::int64_t task = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  const std::int64_t half = e.d / N, packs = 2 * half;
  const std::int64_t row = task / packs, q = task % packs;
  if (row >= e.rows) return;
  float u[2 * N];
  load_rectified<N>(x + row * e.d, half, q == 0 ? packs - 1 : q - 1, u);
  load_rectified<N>(x + row * e.d, half, q, u + N);
  T* to = phi + (row * e.nu * packs + q) * N;
#pragma unroll
  for (int j = 1; j <= N; ++j, to += packs * N) {
    if (j > e.nu) break;
    float out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = u[N + k] * u[N + k - j];
    store_packed<N>(to, Packed<T, N>::pack(out));
  }
}

// u_i stands at place i of every product and, turned, at place i + j. A thread: N neighbouring elements of x, each of
// which is element i or d + i of u, by its sign.
template <class T>
__global__ void __launch_bounds__(kLoneThreads)
    backward_kernel(const T* __restrict__ dphi, const T* __restrict__ x, Extents e, T* __restrict__ dx) {
  constexpr int N = kVec<T>;
  const std::int64_t task = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  const std::int64_t half = e.d / N, packs = 2 * half;
  const std::int64_t row = task / half, c = task % half;
  if (row >= e.rows) return;
  x += row * e.d;
  dphi += row * e.nu * packs * N;
  float out[N] = {};
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const std::int64_t q = side * half + c;
    const std::int64_t before = q == 0 ? packs - 1 : q - 1, after = q == packs - 1 ? 0 : q + 1;
    float u[3 * N], du[N] = {};
    load_rectified<N>(x, half, before, u);
    load_rectified<N>(x, half, q, u + N);
    load_rectified<N>(x, half, after, u + 2 * N);
    const T* g = dphi;
#pragma unroll
    for (int j = 1; j <= N; ++j, g += packs * N) {
      if (j > e.nu) break;
      float here[N], next[N];
      load_packed<N>(g + q * N).unpack(here);
      load_packed<N>(g + after * N).unpack(next);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float turned = k + j < N ? here[(k + j) % N] : next[(k + j) % N];
        du[k] += here[k] * u[N + k - j] + turned * u[N + k + j];
      }
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (u[N + k] > 0) out[k] = side == 0 ? du[k] : -du[k];
    }
  }
  store_packed<N>(dx + (row * half + c) * N, Packed<T, N>::pack(out));
}

// Any d and nu, a feature per thread.
template <class T>
__global__ void __launch_bounds__(kLoneThreads)
    plain_forward_kernel(const T* __restrict__ x, Extents e, T* __restrict__ phi) {
  const std::int64_t task = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  const std::int64_t n = 2 * e.d;
  const std::int64_t i = task % n, j = task / n % e.nu + 1, row = task / n / e.nu;
  if (row >= e.rows) return;
  x += row * e.d;
  phi[task] = from_float<T>(rectified(x, e.d, i) * rectified(x, e.d, i < j ? i - j + n : i - j));
}

template <class T>
__global__ void __launch_bounds__(kLoneThreads)
    plain_backward_kernel(const T* __restrict__ dphi, const T* __restrict__ x, Extents e, T* __restrict__ dx) {
  const std::int64_t task = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  if (task >= e.rows * e.d) return;
  const std::int64_t row = task / e.d, n = 2 * e.d;
  const float value = to_float(x[task]);
  const std::int64_t i = value > 0 ? task % e.d : task % e.d + e.d;
  x += row * e.d;
  const T* g = dphi + row * e.nu * n;
  float du = 0;
  for (std::int64_t j = 1; j <= e.nu; ++j, g += n) {
    const std::int64_t before = i < j ? i - j + n : i - j, after = i + j < n ? i + j : i + j - n;
    du += to_float(g[i]) * rectified(x, e.d, before) + to_float(g[after]) * rectified(x, e.d, after);
  }
  dx[task] = from_float<T>(value > 0 ? du : (value < 0 ? -du : 0.0f));
}

}  // namespace

void dpfp_forward(const Stream& stream, const Tensor& x, std::int64_t nu, const Tensor& phi) {
  const Extents e = extents_of(x, nu);
  if (e.rows == 0) return;
  dispatch_float("dpfp", x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    T* const out = data<T>(phi);
    if (e.d % kVec<T> == 0 && e.nu <= kVec<T> && aligned(in, out)) {
      launch_early("dpfp", forward_kernel<T>, lone_blocks(e.rows * (2 * e.d / kVec<T>)), kLoneThreads, 0, stream, in, e,
                   out);
    } else {
      plain_forward_kernel<T><<<lone_blocks(phi.numel()), kLoneThreads, 0, native(stream)>>>(in, e, out);
    }
  });
  check_launch("dpfp");
}

void dpfp_backward(const Stream& stream, const Tensor& dphi, const Tensor& x, std::int64_t nu, const Tensor& dx) {
  const Extents e = extents_of(x, nu);
  if (e.rows == 0) return;
  dispatch_float("dpfp backward", x.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dphi);
    const T* const in = data<T>(x);
    T* const out = data<T>(dx);
    if (e.d % kVec<T> == 0 && e.nu <= kVec<T> && aligned(grad, in, out)) {
      backward_kernel<T><<<lone_blocks(e.rows * (e.d / kVec<T>)), kLoneThreads, 0, native(stream)>>>(grad, in, e, out);
    } else {
      plain_backward_kernel<T><<<lone_blocks(x.numel()), kLoneThreads, 0, native(stream)>>>(grad, in, e, out);
    }
  });
  check_launch("dpfp backward");
}

}  // namespace wt::kernels::cuda
