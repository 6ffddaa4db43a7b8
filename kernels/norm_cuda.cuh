// What the two norms share: rows held in registers, and parameter gradients summed over rows in a fixed order. The
// kernels of each, alone or behind a sum, are in rms_norm_cuda.cuh and layer_norm_cuda.cuh.
//
// LANES neighbouring threads hold a row, PACKS accesses of 16 bytes each; access i of a lane is number i·LANES + lane
// of the row. Up to 32 lanes, a warp or a part of it has a row to itself and a block works on several rows side by
// side; above, a block is one row's lanes.
#pragma once

#include <algorithm>

#include "kernels/packed_cuda.cuh"
#include "kernels/partials_cuda.cuh"

namespace wt::kernels::cuda {

template <int LANES>
inline constexpr int kTileThreads = LANES < 128 ? 128 : LANES;
// Rows that a block holds at once.
template <int LANES>
inline constexpr int kTileRows = kTileThreads<LANES> / LANES;

inline constexpr int kProcessors = 132;
// Blocks that a processor holds at once in a backward pass, which sums columns in registers: this bounds what a thread
// may use.
template <int LANES, int PACKS>
inline constexpr int kTileBlocks = std::max(1, (PACKS == 1   ? 7
                                                : PACKS == 2 ? 5
                                                : PACKS <= 4 ? 4
                                                             : 3) *
                                                   128 / kTileThreads<LANES>);

// Calls f.template operator()<LANES, PACKS>() with a tile for rows of `packs` accesses; false where none is wide enough
// (packs 0 stands for rows that 16-byte accesses do not fit). WARP_PACKS is the most that a lane of a warp holds: a
// warp on its own needs no barrier, but a kernel that also sums columns runs out of registers.
template <int WARP_PACKS, class F>
bool dispatch_tile(std::int64_t packs, F&& f) {
  static_assert(WARP_PACKS == 4 || WARP_PACKS == 8);
  if (packs < 1 || packs > 2048) return false;
  if (packs <= 8) {
    f.template operator()<8, 1>();
  } else if (packs <= 16) {
    f.template operator()<16, 1>();
  } else if (packs <= 32) {
    f.template operator()<32, 1>();
  } else if (packs <= 64) {
    f.template operator()<32, 2>();
  } else if (packs <= 96) {
    f.template operator()<32, 3>();
  } else if (packs <= 128) {
    f.template operator()<32, 4>();
  } else if (packs <= 256) {
    if constexpr (WARP_PACKS == 8) {
      f.template operator()<32, 8>();
    } else {
      f.template operator()<128, 2>();
    }
  } else if (packs <= 512) {
    f.template operator()<128, 4>();
  } else if (packs <= 1024) {
    f.template operator()<256, 4>();
  } else {
    f.template operator()<512, 4>();
  }
  return true;
}

// The lane's part of a row; zero beyond `packs`.
template <int LANES, int PACKS, class T>
__device__ inline void load_row(const T* row, int lane, int packs, Packed<T, kVec<T>> (&to)[PACKS]) {
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    const int p = i * LANES + lane;
    to[i] = {};
    if (p < packs) to[i] = load_packed<kVec<T>>(row + p * kVec<T>);
  }
}

// Adds the lane's part of another row, and writes the sum.
template <int LANES, int PACKS, class T>
__device__ inline void add_row(const T* more, int lane, int packs, T* sum, Packed<T, kVec<T>> (&row)[PACKS]) {
  constexpr int N = kVec<T>;
  Packed<T, N> other[PACKS];
  load_row<LANES>(more, lane, packs, other);
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    const int p = i * LANES + lane;
    float a[N], b[N];
    row[i].unpack(a);
    other[i].unpack(b);
#pragma unroll
    for (int e = 0; e < N; ++e) a[e] += b[e];
    row[i] = Packed<T, N>::pack(a);
    if (p < packs) store_packed<N>(sum + p * N, row[i]);
  }
}

// The place of layer blockIdx.y on the side of a norm that is in another order of layers (kernels/rms_norm.h).
struct LayerOrder {
  const std::int32_t* order;  // null: its own
  std::int32_t* fault = wt::cuda::fault_word();
  // Negative, and a fault, where the tensor has no such place: for all threads of the block.
  __device__ std::int64_t operator()() const {
    if (order == nullptr) return blockIdx.y;
    const std::int32_t place = __ldg(order + blockIdx.y);
    if (place >= 0 && place < static_cast<std::int64_t>(gridDim.y)) return place;
    report(fault, Fault::kLayerPlace);
    return -1;
  }
};
inline LayerOrder layer_order(const Tensor& order) {
  return {order.defined() ? order.data<std::int32_t>() : nullptr};
}

// Sum over a row's lanes; every lane gets it. All threads of the block call it. `scratch` as in block_sum.
template <int LANES>
__device__ inline float row_sum(float x, float* scratch) {
  if constexpr (LANES > 32) {
    return block_sum<LANES>(x, scratch);
  } else {
#pragma unroll
    for (int offset = LANES / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
  }
}

// Writes one row of column sums: of each lane's own, those of the block's rows added in order. All threads of the block
// call it.
template <class T, int LANES, int PACKS>
__device__ inline void store_column_sums(const float (&sums)[PACKS][kVec<T>], int lane, int packs, float* to) {
  constexpr int N = kVec<T>, kRows = kTileRows<LANES>;
  if constexpr (kRows == 1) {
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      const int p = i * LANES + lane;
      if (p < packs) {
#pragma unroll
        for (int e = 0; e < N; e += 4) {
          store_packed<4>(to + p * N + e, {{sums[i][e], sums[i][e + 1], sums[i][e + 2], sums[i][e + 3]}});
        }
      }
    }
  } else {
    __shared__ alignas(16) float all[kRows][LANES * N];
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      __syncthreads();
#pragma unroll
      for (int e = 0; e < N; e += 4) {
        store<4>(&all[threadIdx.x / LANES][lane * N + e], {sums[i][e], sums[i][e + 1], sums[i][e + 2], sums[i][e + 3]});
      }
      __syncthreads();
      for (int column = threadIdx.x; column < LANES * N; column += kTileThreads<LANES>) {
        if (i * LANES * N + column >= packs * N) break;
        float sum = all[0][column];
#pragma unroll
        for (int r = 1; r < kRows; ++r) sum += all[r][column];
        to[i * LANES * N + column] = sum;
      }
    }
  }
}

// How the rows of each layer are cut for the backward pass. By the shape alone, so that every run adds in the same
// order: about as many blocks as an H100 holds at once, each with at least four turns, so that its row of column sums
// is little beside the rows it read.
struct RowChunks {
  std::int64_t count;
  std::int64_t rows;  // of one chunk; the last may be shorter
};
inline RowChunks row_chunks(std::int64_t layers, std::int64_t rows, int rows_at_once, std::int64_t blocks) {
  const std::int64_t most = ceil_div(rows, 4 * rows_at_once);
  const std::int64_t wanted = std::clamp<std::int64_t>(blocks / layers, 1, most);
  const std::int64_t per_chunk = ceil_div(ceil_div(rows, wanted), rows_at_once) * rows_at_once;
  return {ceil_div(rows, per_chunk), per_chunk};
}
template <int LANES, int PACKS>
RowChunks tile_chunks(std::int64_t layers, std::int64_t rows) {
  return row_chunks(layers, rows, kTileRows<LANES>, kProcessors * kTileBlocks<LANES, PACKS>);
}

// A block per row, for widths and addresses that no tile fits; and columns of a chunk of rows, a thread each.
inline constexpr int kPlainThreads = 128;
template <class T>
__device__ inline T plain_sum(T a, T b) {
  return from_float<T>(to_float(a) + to_float(b));
}
inline dim3 row_grid(std::int64_t rows, std::int64_t layers) {
  return {grid_size(rows), grid_size(layers)};
}
inline RowChunks plain_chunks(std::int64_t layers, std::int64_t rows, std::int64_t width) {
  return row_chunks(layers * ceil_div(width, kPlainThreads), rows, 4, 16 * kProcessors);
}
inline dim3 column_grid(const RowChunks& chunks, std::int64_t layers, std::int64_t width) {
  return {grid_size(chunks.count), grid_size(layers), grid_size(ceil_div(width, kPlainThreads))};
}

}  // namespace wt::kernels::cuda
