#include <cmath>

#include "core/random.h"
#include "kernels/dropout.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kInFlight = 2;

struct Draw {
  std::uint64_t seed, stream;
  const std::int64_t* cell;
  std::uint32_t threshold;  // of 24 random bits
  float scale;
};

__device__ PhiloxBlock draw(const Draw& d, std::int64_t cell, std::int64_t block) {
  return philox(
      d.seed, d.stream,
      (static_cast<std::uint64_t>(__ldg(d.cell + cell)) << kDropoutCellShift) + static_cast<std::uint64_t>(block));
}
// uniform_float(word) >= p, in integers.
__device__ float kept(float x, std::uint32_t word, const Draw& d) {
  return (word >> 8) >= d.threshold ? x * d.scale : 0.0f;
}

// `count` accesses of 16 bytes in all, `packs` of them to a cell.
template <class T>
__global__ void __launch_bounds__(kLoneThreads)
    dropout_kernel(const T* x, std::int64_t count, std::int64_t packs, Draw d, T* y) {
  constexpr int N = kVec<T>;
  Packed<T, N> in[kInFlight];
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = (std::int64_t{blockIdx.x} * kInFlight + u) * kLoneThreads + threadIdx.x;
    if (i >= count) break;
    in[u] = load_packed<N>(x + i * N);
  }
#pragma unroll
  for (int u = 0; u < kInFlight; ++u) {
    const std::int64_t i = (std::int64_t{blockIdx.x} * kInFlight + u) * kLoneThreads + threadIdx.x;
    if (i >= count) break;
    float v[N];
    in[u].unpack(v);
#pragma unroll
    for (int block = 0; block < N / 4; ++block) {
      const PhiloxBlock random = draw(d, i / packs, i % packs * (N / 4) + block);
#pragma unroll
      for (int j = 0; j < 4; ++j) v[block * 4 + j] = kept(v[block * 4 + j], random.word[j], d);
    }
    store_packed<N>(y + i * N, Packed<T, N>::pack(v));
  }
}

// Any number of elements: a thread per block of four numbers, the last of a cell perhaps with elements missing.
template <class T>
__global__ void __launch_bounds__(kLoneThreads)
    plain_kernel(const T* x, std::int64_t cells, std::int64_t elements, Draw d, T* y) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x;
  const std::int64_t blocks = (elements + 3) / 4;
  if (i >= cells * blocks) return;
  const std::int64_t cell = i / blocks, block = i % blocks;
  const PhiloxBlock random = draw(d, cell, block);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (block * 4 + j >= elements) break;
    const std::int64_t at = cell * elements + block * 4 + j;
    y[at] = from_float<T>(kept(to_float(x[at]), random.word[j], d));
  }
}

}  // namespace

void dropout(const Stream& stream, const Tensor& x, const Tensor& cell, double p, const DropoutKey& key,
             const Tensor& y) {
  const std::int64_t cells = cell.numel(), elements = x.numel() / cells;
  if (elements == 0) return;
  Draw d{};
  d.seed = key.seed;
  d.stream = random_stream(RandomPurpose::kDropout, key.step * 16 + static_cast<std::uint64_t>(key.site));
  d.cell = data<std::int64_t>(cell);
  // A number is a multiple of 2^-24, and p times 2^24 is exact: at least p is at least this many.
  d.threshold = static_cast<std::uint32_t>(std::ceil(16777216.0 * static_cast<double>(static_cast<float>(p))));
  d.scale = static_cast<float>(1.0 / (1.0 - p));
  dispatch_float("dropout", x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    T* const out = data<T>(y);
    if (elements % kVec<T> == 0 && aligned(in, out)) {
      const std::int64_t count = x.numel() / kVec<T>;
      dropout_kernel<T><<<lone_blocks(ceil_div(count, kInFlight)), kLoneThreads, 0, native(stream)>>>(
          in, count, elements / kVec<T>, d, out);
    } else {
      plain_kernel<T><<<lone_blocks(cells * ceil_div(elements, 4)), kLoneThreads, 0, native(stream)>>>(
          in, cells, elements, d, out);
    }
  });
  check_launch("dropout");
}

}  // namespace wt::kernels::cuda
