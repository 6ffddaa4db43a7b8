#include "kernels/packed_cuda.cuh"
#include "kernels/rotary.h"

namespace wt::kernels::cuda {
namespace {

struct Extents {
  std::int64_t rows, cells, t, width;  // cells: numbers of `first`
  std::int64_t heads, half;            // half: K/2
  std::int64_t entries;                // of the table
};

// Heads that a thread turns by the same angles.
constexpr int kHeadsPerThread = 4;

// A thread: N neighbouring pairs of every head_groups-th head of a row.
template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads)
    rotary_kernel(T* qkv, const float* __restrict__ cos_sin, const std::int32_t* __restrict__ first, Extents e,
                  std::int64_t head_groups, float direction, std::int32_t* fault) {
  let_next_begin();
  wait_for_previous();
  const std::int64_t task = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  const std::int64_t lanes = e.half / N;
  const std::int64_t i = task % lanes * N;
  const std::int64_t group = task / lanes % head_groups;
  const std::int64_t row = task / lanes / head_groups;
  if (row >= e.rows) return;
  const std::int64_t entry = row % e.t + (first != nullptr ? first[row / e.t % e.cells] : 0);
  if (entry < 0 || entry >= e.entries) return report(fault, Fault::kRotaryEntry);

  T* const x = qkv + row * e.width + i;
  Packed<T, N> low[kHeadsPerThread], high[kHeadsPerThread];
#pragma unroll
  for (int u = 0; u < kHeadsPerThread; ++u) {
    const std::int64_t head = group + u * head_groups;
    if (head >= e.heads) break;
    low[u] = load_packed<N>(x + head * 2 * e.half);
    high[u] = load_packed<N>(x + head * 2 * e.half + e.half);
  }
  float cosine[N], sine[N];
  load_constant(cos_sin + entry * 2 * e.half + i, cosine);
  load_constant(cos_sin + entry * 2 * e.half + e.half + i, sine);
#pragma unroll
  for (int k = 0; k < N; ++k) sine[k] *= direction;
#pragma unroll
  for (int u = 0; u < kHeadsPerThread; ++u) {
    const std::int64_t head = group + u * head_groups;
    if (head >= e.heads) break;
    float a[N], b[N], turned_a[N], turned_b[N];
    low[u].unpack(a);
    high[u].unpack(b);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      turned_a[k] = a[k] * cosine[k] - b[k] * sine[k];
      turned_b[k] = b[k] * cosine[k] + a[k] * sine[k];
    }
    store_packed<N>(x + head * 2 * e.half, Packed<T, N>::pack(turned_a));
    store_packed<N>(x + head * 2 * e.half + e.half, Packed<T, N>::pack(turned_b));
  }
}

}  // namespace

void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin,
            const Tensor& first_entry, bool inverse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t k = cos_sin.dim(1), cells = first_entry.defined() ? first_entry.numel() : 0;
  if (qkv.numel() == 0 || heads * k == 0) return;
  const Extents e{g * b * t, cells, t, w, heads, k / 2, cos_sin.dim(0)};
  dispatch_float("rotary", qkv.dtype(), [&]<class T>() {
    T* const x = data<T>(qkv);
    const float* const table = data<float>(cos_sin);
    const std::int32_t* const first = first_entry.defined() ? data<std::int32_t>(first_entry) : nullptr;
    const bool fits = e.half % kVec<T> == 0 && w % kVec<T> == 0 && aligned(x, table);
    dispatch_access<T>(fits, [&]<int N>() {
      const std::int64_t groups = ceil_div(heads, kHeadsPerThread);
      launch_early("rotary", rotary_kernel<T, N>, lone_blocks(e.rows * groups * (e.half / N)), kLoneThreads, 0, stream,
                   x, table, first, e, groups, inverse ? -1.0f : 1.0f, wt::cuda::fault_word());
    });
  });
}

}  // namespace wt::kernels::cuda
