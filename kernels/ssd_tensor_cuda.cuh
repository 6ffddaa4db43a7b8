// What the tensor family of Mamba-2's scan shares (kernels/ssd_cuda.cuh). A tile is 64 rows of a chunk by 64 columns of
// a head: heads that are wider are several tiles, whose rows of the state are independent; what is narrower is filled
// up with zeros, and so are states of other sizes.
#pragma once

#include <cudaTypedefs.h>

#include "kernels/hopper_cuda.cuh"
#include "kernels/ssd_cuda.cuh"

namespace wt::kernels::cuda {

// Tiles of a group of heads.
struct SsdTiles {
  int of_head, of_group;
};
inline SsdTiles ssd_tiles(const SsdShape& shape) {
  const auto of_head = static_cast<int>(ceil_div(shape.width, kTile));
  return {of_head, of_head * static_cast<int>(shape.heads / shape.groups)};
}

// A tile of a group: its head, and the first column that it has of it.
struct SsdTile {
  int head, column;
};
template <class T>
__device__ inline SsdTile ssd_tile(const Ssd<T>& a, const SsdTiles& tiles, int group, int tile) {
  return {group * (a.heads / a.groups) + tile / tiles.of_head, tile % tiles.of_head * kTile};
}

// Of a chunk and head, the rows 2·lane and 2·lane + 1 of a warp. l in units of a factor of two.
struct SsdSteps {
  float2 delta, slope, l, grown, left;  // grown: e^l, left: e^(l_Q - l)
  float whole;                          // e^l_Q
};
// What they are made of, read well before it is needed.
struct SsdStepInputs {
  float2 dt{};
  float bias = 0, a_log = 0;
  int real = 0;  // rows of the chunk in use
};
template <class T>
__device__ inline SsdStepInputs ssd_step_inputs(const Ssd<T>& a, std::int64_t cell, int head, int chunk,
                                                std::int64_t used) {
  const std::int64_t left = used - std::int64_t{chunk} * kTile, weight = std::int64_t{a.layer(cell)} * a.heads + head;
  const int row = static_cast<int>(threadIdx.x % 32) * 2;
  SsdStepInputs in;
  in.real = static_cast<int>(min(std::int64_t{kTile}, left));
  if (in.real <= 0) return in;
  const float* const dt = a.dt + a.dt_place(cell, std::int64_t{chunk} * kTile + row, head);
  if (row < in.real) in.dt.x = dt[0];
  if (row + 1 < in.real) in.dt.y = dt[a.heads];
  in.bias = a.dt_bias[weight];
  in.a_log = a.a_log[weight];
  return in;
}
__device__ inline SsdSteps ssd_steps(const SsdStepInputs& in, float least, float most) {
  constexpr float kLog2E = 1.44269504088896340736f;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float rate = -expf(in.a_log) * kLog2E;
  StepSize even{}, odd{};
  if (2 * lane < in.real) even = step_size(in.dt.x + in.bias, least, most);
  if (2 * lane + 1 < in.real) odd = step_size(in.dt.y + in.bias, least, most);
  const float first = rate * even.delta, both = first + rate * odd.delta;
  float sum = both;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float before = __shfl_up_sync(0xffffffffu, sum, offset);
    if (lane >= offset) sum += before;
  }
  const float all = __shfl_sync(0xffffffffu, sum, 31);
  const float2 l{sum - both + first, sum};
  return {{even.delta, odd.delta},
          {even.slope, odd.slope},
          l,
          {power_of_two(l.x), power_of_two(l.y)},
          {power_of_two(fminf(all - l.x, 0.0f)), power_of_two(fminf(all - l.y, 0.0f))},
          power_of_two(all)};
}

// The map for copies of tiles from the blocks of columns (cells, rows, blocks, width) of a matrix (cells, rows,
// columns) of bf16.
struct TileBlocks {
  std::int64_t width, blocks, columns, rows, cells;
};
CUtensorMap tile_map(const bf16* first, const TileBlocks& of, int tile_rows = kTile);
// Of xbc: x by heads; b and c by groups, those of c after those of b.
template <class T>
CUtensorMap x_map(const Ssd<T>& a) {
  return tile_map(a.xbc, {a.width, a.heads, a.columns, a.rows, a.cells});
}
template <class T>
CUtensorMap bc_map(const Ssd<T>& a) {
  return tile_map(a.xbc + a.heads * a.width, {a.state, 2 * a.groups, a.columns, a.rows, a.cells});
}

// Backward: of xbc and dy, made once for all cells.
struct SsdMaps {
  CUtensorMap x, bc, dy;
};
// States as tiles of bf16, 64 columns after 64 columns: (cells at work, groups, tiles of a group, chunks).
struct SsdImages {
  Tensor starts, ends;
};
// Makes the images for the cells at work, and ds (may be ds_out's memory) where it is defined. ds_out undefined: zeros.
void tensor_ssd_states(const char* op, const Stream& stream, const SsdMaps& maps, const Ssd<bf16>& a,
                       const SsdTiles& tiles, const Tensor& s, const Tensor& ds_out, const Tensor& ds,
                       const SsdImages& to);

// Fewer rows are quicker one after another.
inline constexpr std::int64_t kTensorRows = 16;

// Whether the GPU, the build, the shapes and the addresses are for the tensor family.
bool tensor_ssd_fits(const Stream& stream, const SsdShape& shape, const Tensor& xbc,
                     std::initializer_list<const Tensor*> aligned);

// Columns of the state that a kernel holds: 64, 128 or 256.
template <class F>
void dispatch_state(std::int64_t state, F&& f) {
  if (state <= 64) {
    f.template operator()<64>();
  } else if (state <= 128) {
    f.template operator()<128>();
  } else {
    f.template operator()<256>();
  }
}

// A state (64 × STATE) in the accumulators of a warp group, which hold at most 128 columns each.
template <int STATE>
struct StateTile {
  static constexpr int kWide = STATE < 128 ? STATE : 128;
  float v[STATE / kWide][kWide / 2];

  // Body(value of the even column, of the odd one, row, even column) for all that the thread holds.
  template <class Body>
  __device__ void each_pair(const Body& body) {
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32 % 4);
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) {
#pragma unroll
      for (int e = 0; e < kWide / 2; e += 2) {
        body(v[i][e], v[i][e + 1], warp * 16 + lane / 4 + e % 4 / 2 * 8, i * kWide + e / 4 * 8 + lane % 4 * 2);
      }
    }
  }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) {
#pragma unroll
      for (int e = 0; e < kWide / 2; ++e) v[i][e] = 0;
    }
  }
  __device__ void scale(float factor) {
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) {
#pragma unroll
      for (int e = 0; e < kWide / 2; ++e) v[i][e] *= factor;
    }
  }
  __device__ void hold() {
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) cuda::hold(v[i]);
  }
  // Columns [16 k, 16 k + 16) as a part of A.
  __device__ void part(int k, std::uint32_t* to) const {
    const float* const from = v[k * 16 / kWide] + k * 16 % kWide / 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = pack_pair(from[2 * i], from[2 * i + 1]);
  }
  // += A B for 16 rows of B, which lies in tiles.
  __device__ void add_product(const std::uint32_t* a, Operand b) {
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) wgmma<true>(v[i], a, b + i * 2 * kTileBytes);
  }
  template <bool ACROSS>
  __device__ void add_product(Operand a, Operand b) {
#pragma unroll
    for (int i = 0; i < STATE / kWide; ++i) wgmma<ACROSS, true>(v[i], a, b + i * 2 * kTileBytes);
  }
};

}  // namespace wt::kernels::cuda
