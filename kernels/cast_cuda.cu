#include "core/split_float.h"
#include "kernels/cast.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kInFlight = 4;
// Elements of an access: 16 bytes of f32, and 8 of bf16, so that neighbouring threads touch neighbouring bytes on both
// sides.
constexpr int kWidth = 4;

template <class From, class To, int N>
__global__ void __launch_bounds__(kLoneThreads)
    cast_kernel(const From* __restrict__ x, std::int64_t count, To* __restrict__ y) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kInFlight * kLoneThreads + threadIdx.x;
  Packed<From, N> in[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = first + u * kLoneThreads;
    if (i >= count) break;
    in[u] = load_packed<N>(x + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = first + u * kLoneThreads;
    if (i >= count) break;
    float v[N];
    in[u].unpack(v);
    store_packed<N>(y + i * N, Packed<To, N>::pack(v));
  }
}

template <int N, class From, class To>
void launch(const Stream& stream, const From* x, std::int64_t count, To* y) {
  if (count == 0) return;
  cast_kernel<From, To, N><<<lone_blocks(ceil_div(count, kInFlight)), kLoneThreads, 0, native(stream)>>>(x, count, y);
}

// One element each way; neighbouring threads touch neighbouring elements.
__global__ void __launch_bounds__(kLoneThreads)
    split_kernel(const float* __restrict__ x, std::int64_t count, std::uint16_t* __restrict__ high,
                 std::int16_t* __restrict__ low) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  if (i >= count) return;
  const SplitFloat halves = wt::split_float(x[i]);
  high[i] = halves.high;
  low[i] = halves.low;
}

__global__ void __launch_bounds__(kLoneThreads)
    join_kernel(const std::uint16_t* __restrict__ high, const std::int16_t* __restrict__ low, std::int64_t count,
                float* __restrict__ x) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  if (i < count) x[i] = wt::join_float({high[i], low[i]});
}

}  // namespace

void split_float(const Stream& stream, const Tensor& x, const Tensor& high, const Tensor& low) {
  if (x.numel() == 0) return;
  split_kernel<<<lone_blocks(x.numel()), kLoneThreads, 0, native(stream)>>>(
      x.data<float>(), x.numel(), static_cast<std::uint16_t*>(high.raw()), low.data<std::int16_t>());
  check_launch("split_float");
}

void join_float(const Stream& stream, const Tensor& high, const Tensor& low, const Tensor& x) {
  if (x.numel() == 0) return;
  join_kernel<<<lone_blocks(x.numel()), kLoneThreads, 0, native(stream)>>>(
      static_cast<const std::uint16_t*>(high.raw()), low.data<std::int16_t>(), x.numel(), x.data<float>());
  check_launch("join_float");
}

void cast(const Stream& stream, const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  if (x.dtype() == y.dtype()) {
    y.copy_from(stream, x);  // also keeps the payload of a NaN
    return;
  }
  dispatch_float("cast", x.dtype(), [&]<class From>() {
    dispatch_float("cast", y.dtype(), [&]<class To>() {
      const From* const from = data<From>(x);
      To* const to = data<To>(y);
      const std::int64_t packs = aligned(from, to) ? x.numel() / kWidth : 0, done = packs * kWidth;
      launch<kWidth>(stream, from, packs, to);
      launch<1>(stream, from + done, x.numel() - done, to + done);
    });
  });
  check_launch("cast");
}

}  // namespace wt::kernels::cuda
