#include "kernels/packed_cuda.cuh"
#include "kernels/rows.h"

namespace wt::kernels::cuda {
namespace {

// Accesses that a thread has in flight.
constexpr int kInFlight = 4;

// Every operation moves rows between a list and a larger tensor, or adds them. Which row of the one is which of the
// other is a function below; -1 stands for none. A row that an index names and the tensor does not have is a fault.

// Row i of a list is row index[i] of a tensor.
struct Listed {
  const std::int32_t* index;
  std::int64_t rows;
  std::int32_t* fault = wt::cuda::fault_word();
  __device__ std::int64_t operator()(std::int64_t i) const {
    const std::int64_t row = __ldg(index + i);
    if (row >= 0 && row < rows) return row;
    report(fault, Fault::kRow);
    return -1;
  }
};

// Row i of the taken rows, m of each cell, is this row of x, t of each cell.
struct Taken {
  const std::int32_t* first;
  std::int64_t t, m;
  std::int32_t* fault = wt::cuda::fault_word();
  __device__ std::int64_t operator()(std::int64_t i) const {
    const std::int64_t cell = i / m, row = __ldg(first + cell) + i % m;
    if (row >= 0 && row < t) return cell * t + row;
    report(fault, Fault::kRow);
    return -1;
  }
};

// The other way round: row i of x is this one of the taken rows.
struct TakenFrom {
  const std::int32_t* first;
  std::int64_t t, m;
  __device__ std::int64_t operator()(std::int64_t i) const {
    const std::int64_t cell = i / t, row = i % t - __ldg(first + cell);
    return row >= 0 && row < m ? cell * m + row : -1;
  }
};

__device__ std::int64_t access_number(int u) {
  return (std::int64_t{blockIdx.x} * kInFlight + u) * kLoneThreads + threadIdx.x;
}
unsigned blocks_for(std::int64_t count) {
  return lone_blocks(ceil_div(count, kInFlight));
}

// out[i] = x[row(i)], zero where there is none. `count` accesses in all, `packs` to a row, here and below.
template <class T, int N, class Row>
__global__ void __launch_bounds__(kLoneThreads)
    gather_kernel(const T* __restrict__ x, Row row, std::int64_t count, std::int64_t packs, T* __restrict__ out) {
  Packed<T, N> value[kInFlight] = {};
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    const std::int64_t from = row(i / packs);
    if (from >= 0) value[u] = load_packed<N>(x + (from * packs + i % packs) * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    store_packed<N>(out + i * N, value[u]);
  }
}

// x[row(i)] = values[i], or += with ADD.
template <bool ADD, class T, int N, class Row>
__global__ void __launch_bounds__(kLoneThreads)
    scatter_kernel(const T* __restrict__ values, Row row, std::int64_t count, std::int64_t packs, T* __restrict__ x) {
  Packed<T, N> value[kInFlight] = {}, before[kInFlight] = {};
  T* to[kInFlight] = {};
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    const std::int64_t target = row(i / packs);
    if (target < 0) continue;
    to[u] = x + (target * packs + i % packs) * N;
    value[u] = load_packed<N>(values + i * N);
    if constexpr (ADD) before[u] = load_packed<N>(to[u]);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    if (to[u] == nullptr) continue;
    if constexpr (ADD) {
      float a[N], b[N];
      value[u].unpack(a);
      before[u].unpack(b);
#pragma unroll
      for (int e = 0; e < N; ++e) a[e] += b[e];
      value[u] = Packed<T, N>::pack(a);
    }
    store_packed<N>(to[u], value[u]);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads) add_kernel(const T* x, std::int64_t count, T* y) {
  Packed<T, N> in[kInFlight], sum[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    in[u] = load_packed<N>(x + i * N);
    sum[u] = load_packed<N>(y + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    float a[N], b[N];
    in[u].unpack(a);
    sum[u].unpack(b);
#pragma unroll
    for (int e = 0; e < N; ++e) a[e] += b[e];
    store_packed<N>(y + i * N, Packed<T, N>::pack(a));
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads) scale_kernel(float factor, std::int64_t count, T* y) {
  Packed<T, N> value[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    value[u] = load_packed<N>(y + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = access_number(u);
    if (i >= count) break;
    float a[N];
    value[u].unpack(a);
#pragma unroll
    for (int e = 0; e < N; ++e) a[e] *= factor;
    store_packed<N>(y + i * N, Packed<T, N>::pack(a));
  }
}

template <class Row>
void gather(const char* op, const Stream& stream, const Tensor& x, const Row& row, std::int64_t d, const Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const from = data<T>(x);
    T* const to = data<T>(out);
    dispatch_access<T>(d % kVec<T> == 0 && aligned(from, to), [&]<int N>() {
      const std::int64_t count = out.numel() / N;
      gather_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(from, row, count, d / N, to);
    });
  });
  check_launch(op);
}

template <bool ADD, class Row>
void scatter(const char* op, const Stream& stream, const Tensor& values, const Row& row, std::int64_t d,
             const Tensor& x) {
  if (values.numel() == 0) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const from = data<T>(values);
    T* const to = data<T>(x);
    dispatch_access<T>(d % kVec<T> == 0 && aligned(from, to), [&]<int N>() {
      const std::int64_t count = values.numel() / N;
      scatter_kernel<ADD, T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(from, row, count, d / N, to);
    });
  });
  check_launch(op);
}

Listed listed(const Tensor& x, const Tensor& index) {
  const std::int64_t d = x.shape()[-1];
  return {data<std::int32_t>(index), x.numel() / (d == 0 ? 1 : d)};
}

}  // namespace

void take_rows_forward(const Stream& stream, const Tensor& x, const Tensor& first, const Tensor& out) {
  const TakenExtents e = taken_extents(x, first, out);
  gather("take_rows", stream, x, Taken{data<std::int32_t>(first), e.t, e.m}, e.d, out);
}

void take_rows_backward(const Stream& stream, const Tensor& dout, const Tensor& first, const Tensor& dx,
                        GradMode mode) {
  const TakenExtents e = taken_extents(dx, first, dout);
  const std::int32_t* const begin = data<std::int32_t>(first);
  if (mode == GradMode::kOverwrite) {
    gather("take_rows backward", stream, dout, TakenFrom{begin, e.t, e.m}, e.d, dx);
  } else {
    scatter<true>("take_rows backward", stream, dout, Taken{begin, e.t, e.m}, e.d, dx);
  }
}

void gather_rows(const Stream& stream, const Tensor& x, const Tensor& index, const Tensor& out) {
  gather("gather_rows", stream, x, listed(x, index), x.shape()[-1], out);
}

void scatter_add_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  scatter<true>("scatter_add_rows", stream, values, listed(x, index), x.shape()[-1], x);
}

void put_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  scatter<false>("put_rows", stream, values, listed(x, index), x.shape()[-1], x);
}

void add(const Stream& stream, const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_float("add", x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    T* const sum = data<T>(y);
    dispatch_access<T>(x.numel() % kVec<T> == 0 && aligned(in, sum), [&]<int N>() {
      const std::int64_t count = x.numel() / N;
      add_kernel<T, N><<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(in, count, sum);
    });
  });
  check_launch("add");
}

void scale(const Stream& stream, double factor, const Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float("scale", y.dtype(), [&]<class T>() {
    T* const values = data<T>(y);
    dispatch_access<T>(y.numel() % kVec<T> == 0 && aligned(values, values), [&]<int N>() {
      const std::int64_t count = y.numel() / N;
      scale_kernel<T, N>
          <<<blocks_for(count), kLoneThreads, 0, native(stream)>>>(static_cast<float>(factor), count, values);
    });
  });
  check_launch("scale");
}

}  // namespace wt::kernels::cuda
