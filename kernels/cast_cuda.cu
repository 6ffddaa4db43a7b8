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

}  // namespace

void cast(const Stream& stream, const Tensor& x, const Tensor& y) {
  WT_CHECK(x.shape() == y.shape(), "cast: x is ", x, ", y is ", y);
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
