#include "kernels/activation.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr float kGeluScale = 0.79788456080286535588f;  // √(2/π)
constexpr float kGeluCubic = 0.044715f;
// Accesses of every operand that a thread has in flight.
constexpr int kInFlight = 2;

// GELU's (1 + tanh(v)) / 2 is sigmoid(2v).
__device__ float gelu_gate(float x) {
  return sigmoid(2 * kGeluScale * (x + kGeluCubic * x * x * x));
}

// The thread's access number u of `count`, or one that is not below `count`.
__device__ std::int64_t access_number(int u) {
  return (std::int64_t{blockIdx.x} * kInFlight + u) * kLoneThreads + threadIdx.x;
}
unsigned blocks_for(std::int64_t count) {
  return lone_blocks(ceil_div(count, kInFlight));
}

// `count` accesses in all, `packs` of them to a row of `out`.
template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads)
    swiglu_forward_kernel(const T* __restrict__ gate_up, std::int64_t count, std::int64_t packs, T* __restrict__ out) {
  Packed<T, N> gate[kInFlight], up[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    const T* const from = gate_up + (i + i / packs * packs) * N;
    gate[u] = load_packed<N>(from);
    up[u] = load_packed<N>(from + packs * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    float a[N], b[N];
    gate[u].unpack(a);
    up[u].unpack(b);
#pragma unroll
    for (int e = 0; e < N; ++e) a[e] *= sigmoid(a[e]) * b[e];
    store_packed<N>(out + i * N, Packed<T, N>::pack(a));
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads)
    swiglu_backward_kernel(const T* __restrict__ dout, const T* gate_up, std::int64_t count, std::int64_t packs,
                           T* dgate_up) {
  Packed<T, N> grad[kInFlight], gate[kInFlight], up[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    const T* const from = gate_up + (i + i / packs * packs) * N;
    grad[u] = load_packed<N>(dout + i * N);
    gate[u] = load_packed<N>(from);
    up[u] = load_packed<N>(from + packs * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    T* const to = dgate_up + (i + i / packs * packs) * N;
    float g[N], a[N], b[N], dgate[N], dup[N];
    grad[u].unpack(g);
    gate[u].unpack(a);
    up[u].unpack(b);
#pragma unroll
    for (int e = 0; e < N; ++e) {
      const float s = sigmoid(a[e]);
      dgate[e] = g[e] * b[e] * s * (1 + a[e] * (1 - s));
      dup[e] = g[e] * a[e] * s;
    }
    store_packed<N>(to, Packed<T, N>::pack(dgate));
    store_packed<N>(to + packs * N, Packed<T, N>::pack(dup));
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads) gelu_forward_kernel(const T* x, std::int64_t count, T* out) {
  Packed<T, N> in[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    in[u] = load_packed<N>(x + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    float v[N];
    in[u].unpack(v);
#pragma unroll
    for (int e = 0; e < N; ++e) v[e] *= gelu_gate(v[e]);
    store_packed<N>(out + i * N, Packed<T, N>::pack(v));
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads)
    gelu_backward_kernel(const T* dout, const T* x, std::int64_t count, T* dx) {
  Packed<T, N> grad[kInFlight], in[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    grad[u] = load_packed<N>(dout + i * N);
    in[u] = load_packed<N>(x + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    float g[N], v[N];
    grad[u].unpack(g);
    in[u].unpack(v);
#pragma unroll
    for (int e = 0; e < N; ++e) {
      const float s = gelu_gate(v[e]);
      const float slope = 2 * kGeluScale * (1 + 3 * kGeluCubic * v[e] * v[e]);
      g[e] *= s + v[e] * s * (1 - s) * slope;
    }
    store_packed<N>(dx + i * N, Packed<T, N>::pack(g));
  }
}

}  // namespace

void swiglu_forward(const Stream& stream, const Tensor& gate_up, const Tensor& out) {
  const std::int64_t f = out.shape()[-1];
  if (out.numel() == 0) return;
  dispatch_float("swiglu", out.dtype(), [&]<class T>() {
    const T* const in = data<T>(gate_up);
    T* const to = data<T>(out);
    dispatch_access<T>(f % kVec<T> == 0 && aligned(in, to), [&]<int N>() {
      const std::int64_t count = out.numel() / N;
      swiglu_forward_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(in, count, f / N, to);
    });
  });
  check_launch("swiglu");
}

void swiglu_backward(const Stream& stream, const Tensor& dout, const Tensor& gate_up, const Tensor& dgate_up) {
  const std::int64_t f = dout.shape()[-1];
  if (dout.numel() == 0) return;
  dispatch_float("swiglu backward", dout.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dout);
    const T* const in = data<T>(gate_up);
    T* const to = data<T>(dgate_up);
    dispatch_access<T>(f % kVec<T> == 0 && aligned(grad, in, to), [&]<int N>() {
      const std::int64_t count = dout.numel() / N;
      swiglu_backward_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(grad, in, count, f / N, to);
    });
  });
  check_launch("swiglu backward");
}

void gelu_forward(const Stream& stream, const Tensor& x, const Tensor& out) {
  if (x.numel() == 0) return;
  dispatch_float("gelu", x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    T* const to = data<T>(out);
    dispatch_access<T>(x.numel() % kVec<T> == 0 && aligned(in, to), [&]<int N>() {
      const std::int64_t count = x.numel() / N;
      gelu_forward_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(in, count, to);
    });
  });
  check_launch("gelu");
}

void gelu_backward(const Stream& stream, const Tensor& dout, const Tensor& x, const Tensor& dx) {
  if (x.numel() == 0) return;
  dispatch_float("gelu backward", x.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dout);
    const T* const in = data<T>(x);
    T* const to = data<T>(dx);
    dispatch_access<T>(x.numel() % kVec<T> == 0 && aligned(grad, in, to), [&]<int N>() {
      const std::int64_t count = x.numel() / N;
      gelu_backward_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(grad, in, count, to);
    });
  });
  check_launch("gelu backward");
}

}  // namespace wt::kernels::cuda
