#include "kernels/packed_cuda.cuh"
#include "kernels/rotary.h"

namespace wt::kernels::cuda {
namespace {

struct Extents {
  std::int64_t rows, cells, t, width;  // cells: numbers of `first`
  std::int64_t heads, half;            // half: R/2
  std::int64_t head_width;             // K
  std::int64_t entries;                // of the table
};

// Heads that a thread turns by the same angles.
constexpr int kHeadsPerThread = 4;

// What each cell's rows turn by beyond their entries, (cells, R): cosines, then sines.
__global__ void __launch_bounds__(kLoneThreads)
    cell_angles_kernel(const double* __restrict__ frequencies, const std::int32_t* __restrict__ past,
                       std::int64_t numbers, std::int64_t half, float* angles) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  if (at >= numbers) return;
  const std::int64_t cell = at / half, i = at % half;
  double sine, cosine;
  sincos(past[cell] * frequencies[i], &sine, &cosine);
  angles[cell * 2 * half + i] = static_cast<float>(cosine);
  angles[cell * 2 * half + half + i] = static_cast<float>(sine);
}

// A thread: N neighbouring pairs of every head_groups-th head of a row. kBeyond: with the angles of its cell.
template <class T, int N, bool kBeyond>
__global__ void __launch_bounds__(kLoneThreads)
    rotary_kernel(T* qkv, const float* __restrict__ cos_sin, const std::int32_t* __restrict__ first,
                  const float* beyond, Extents e, std::int64_t head_groups, float direction, std::int32_t* fault) {
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
    low[u] = load_packed<N>(x + head * e.head_width);
    high[u] = load_packed<N>(x + head * e.head_width + e.half);
  }
  float cosine[N], sine[N];
  load_constant(cos_sin + entry * 2 * e.half + i, cosine);
  load_constant(cos_sin + entry * 2 * e.half + e.half + i, sine);
  if constexpr (kBeyond) {
    float cell_cosine[N], cell_sine[N];
    load<N>(beyond + row / e.t * 2 * e.half + i, cell_cosine);
    load<N>(beyond + row / e.t * 2 * e.half + e.half + i, cell_sine);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float c = cosine[k], s = sine[k];
      cosine[k] = cell_cosine[k] * c - cell_sine[k] * s;
      sine[k] = cell_sine[k] * c + cell_cosine[k] * s;
    }
  }
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
    store_packed<N>(x + head * e.head_width, Packed<T, N>::pack(turned_a));
    store_packed<N>(x + head * e.head_width + e.half, Packed<T, N>::pack(turned_b));
  }
}

}  // namespace

void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin,
            const Tensor& first_entry, bool inverse, const RotaryOptions& options) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t r = cos_sin.dim(1), cells = first_entry.defined() ? first_entry.numel() : 0;
  if (qkv.numel() == 0 || heads * r == 0) return;
  const Extents e{g * b * t, cells, t, w, heads, r / 2, options.head_width, cos_sin.dim(0)};
  Tensor beyond;
  if (options.past.defined()) {
    beyond = Tensor::empty(stream, {g * b, r}, DType::kF32);
    const std::int64_t numbers = g * b * e.half;
    cell_angles_kernel<<<lone_blocks(numbers), kLoneThreads, 0, native(stream)>>>(
        data<double>(options.frequencies), data<std::int32_t>(options.past), numbers, e.half, data<float>(beyond));
    check_launch("rotary");
  }
  dispatch_float("rotary", qkv.dtype(), [&]<class T>() {
    T* const x = data<T>(qkv);
    const float* const table = data<float>(cos_sin);
    const float* const angles = beyond.defined() ? data<float>(beyond) : nullptr;
    const std::int32_t* const first = first_entry.defined() ? data<std::int32_t>(first_entry) : nullptr;
    const bool fits = e.half % kVec<T> == 0 && e.head_width % kVec<T> == 0 && w % kVec<T> == 0 && aligned(x, table);
    dispatch_access<T>(fits, [&]<int N>() {
      const std::int64_t groups = ceil_div(heads, kHeadsPerThread);
      launch_early("rotary", beyond.defined() ? rotary_kernel<T, N, true> : rotary_kernel<T, N, false>,
                   lone_blocks(e.rows * groups * (e.half / N)), kLoneThreads, 0, stream, x, table, first, angles, e,
                   groups, inverse ? -1.0f : 1.0f, wt::cuda::fault_word());
    });
  });
}

}  // namespace wt::kernels::cuda
