#include "kernels/ssd_tensor_cuda.cuh"

// The states at the chunks' starts and the gradients of those at their ends, as the backward pass wants them: rounded,
// as tiles that lie as products read them. With a tile's columns as rows,
//   S' = e^l_Q S + (xᵀ diag(δ e^(l_Q - l))) b          from the first chunk on
//   dS = e^l_Q dS' + (dyᵀ diag(e^l)) c                 from the last chunk on, in the blocks of the grid's second row
// A block has two tiles of one group, a warp group each; a third one fetches.
namespace wt::kernels::cuda {
namespace {

constexpr int kGroupThreads = 128, kThreads = 3 * kGroupThreads;

template <int STATE>
struct StatesSpace {
  static constexpr int kBlocks = STATE / kTile, kStages = STATE == 256 ? 2 : 4;
  struct Stage {
    unsigned char outer[2][kTileBytes], inner[kBlocks][kTileBytes];
  };
  Stage stage[kStages];
  unsigned char image[2][2][kBlocks][kTileBytes];  // by warp groups, in turn
  struct alignas(16) Rows {
    float weight[kTile], whole;
  } rows[kStages][2];
  std::uint64_t full[kStages], empty[kStages];
};

struct StatesIo {
  const float *s, *ds_out;  // ds_out: null for zeros
  float* ds;                // null: not wanted
  unsigned char *starts, *ends;
  SsdTiles tiles;
};

template <int STATE>
__global__ void __launch_bounds__(kThreads, 1)
    ssd_states_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap dy,
                      const __grid_constant__ CUtensorMap bc, const __grid_constant__ Ssd<bf16> a,
                      const __grid_constant__ StatesIo io) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Space = StatesSpace<STATE>;
  constexpr int kStages = Space::kStages, kBlocks = Space::kBlocks;
  extern __shared__ unsigned char raw[];
  auto& space = *reinterpret_cast<Space*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, lane = thread % 32, warp = thread / 32;
  const int which = static_cast<int>(threadIdx.x) / kGroupThreads;
  const bool reverse = blockIdx.y == 1;
  const int pairs = (io.tiles.of_group + 1) / 2, group = static_cast<int>(blockIdx.x) / pairs % a.groups;
  const int first_tile = static_cast<int>(blockIdx.x) % pairs * 2, held = min(2, io.tiles.of_group - first_tile);
  const std::int64_t local = static_cast<int>(blockIdx.x) / pairs / a.groups, cell = a.first + local;
  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&space.full[i], 1 + held);
      barrier_init(&space.empty[i], 4 * held);
    }
    barriers_are_made();
  }
  __syncthreads();
  let_next_begin();
  wait_for_previous();
  const std::int64_t used = a.used(cell), all_chunks = (a.rows + kTile - 1) / kTile;
  const int chunks = static_cast<int>((used + kTile - 1) / kTile);
  const auto chunk_of = [&](int turn) { return reverse ? chunks - 1 - turn : turn; };
  const auto real_rows = [&](int chunk) {
    return static_cast<int>(min(std::int64_t{kTile}, used - std::int64_t{chunk} * kTile));
  };

  if (which == 2) {
    shrink_registers<40>();
    if (warp > held) return;
    const SsdTile own = ssd_tile(a, io.tiles, group, first_tile + max(warp - 1, 0));
    SsdStepInputs next;
    if (warp > 0 && chunks > 0) next = ssd_step_inputs(a, cell, own.head, chunk_of(0), used);
    for (int turn = 0; turn < chunks; ++turn) {
      const int stage = turn % kStages, chunk = chunk_of(turn);
      std::uint64_t* const full = &space.full[stage];
      SsdSteps steps{};
      if (warp > 0) {
        const SsdStepInputs in = next;
        if (turn + 1 < chunks) next = ssd_step_inputs(a, cell, own.head, chunk_of(turn + 1), used);
        steps = ssd_steps(in, a.least, a.most);
      }
      if (turn >= kStages) barrier_wait(&space.empty[stage], turn / kStages - 1 & 1);
      if (warp > 0) {
        auto& rows = space.rows[stage][warp - 1];
        *reinterpret_cast<float2*>(rows.weight + 2 * lane) =
            reverse ? steps.grown : float2{steps.left.x * steps.delta.x, steps.left.y * steps.delta.y};
        if (lane == 0) rows.whole = steps.whole;
        __syncwarp();
        if (lane == 0) barrier_arrive(full);
      } else if (lane == 0) {
        auto& to = space.stage[stage];
        barrier_arrive(full, (held + kBlocks) * kTileBytes);
        const int t = chunk * kTile, z = static_cast<int>(cell);
        for (int i = 0; i < held; ++i) {
          const SsdTile tile = ssd_tile(a, io.tiles, group, first_tile + i);
          copy_tile(to.outer[i], reverse ? dy : x, tile.column, tile.head, t, z, full);
        }
#pragma unroll
        for (int i = 0; i < kBlocks; ++i) {
          copy_tile(to.inner[i], bc, i * kTile, reverse ? a.groups + group : group, t, z, full);
        }
      }
    }
    return;
  }
  grow_registers<232>();
  if (which >= held) return;
  const SsdTile tile = ssd_tile(a, io.tiles, group, first_tile + which);
  const std::int64_t place = a.state_place(cell, tile.head) + std::int64_t{tile.column} * a.state;
  const auto kept = [&](int row, int column) { return tile.column + row < a.width && column < a.state; };
  unsigned char* const images =
      (reverse ? io.ends : io.starts) +
      ((local * a.groups + group) * io.tiles.of_group + first_tile + which) * all_chunks * (STATE * 128);
  StateTile<STATE> s;
  const float* const start = reverse ? io.ds_out : io.s;
  s.each_pair([&](float& even, float& odd, int row, int column) {
    float2 v{0, 0};
    if (start != nullptr && kept(row, column)) {
      v = *reinterpret_cast<const float2*>(start + place + std::int64_t{row} * a.state + column);
    }
    even = v.x;
    odd = v.y;
  });

  for (int turn = 0; turn < chunks; ++turn) {
    const int stage = turn % kStages, chunk = chunk_of(turn), real = real_rows(chunk);
    auto& image = space.image[which][turn % 2];
    // A warp's rows of the state are its own all the way.
    if (lane == 0) wait_for_copies_out<1>();
    __syncwarp();
#pragma unroll
    for (int k = 0; k < STATE / 16; ++k) {
      std::uint32_t part[4];
      s.part(k, part);
      store_matrices(block_address(shared_address(image[k / 4]), warp * 16, k % 4 * 16), part);
    }
    written_for_products();
    __syncwarp();
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < kBlocks; ++i) {
        copy_bytes_out(images + (std::int64_t{chunk} * kBlocks + i) * kTileBytes + warp * 2048, image[i] + warp * 2048,
                       2048);
      }
      copies_out_end();
    }

    barrier_wait(&space.full[stage], turn / kStages & 1);
    auto& from = space.stage[stage];
    const auto& rows = space.rows[stage][which];
    if (real < kTile) {
      // Both warp groups do, each for itself.
      for (int i = thread; i < (kTile - real) * 8 * kBlocks; i += kGroupThreads) {
        const int r = real + i / 8 % (kTile - real), block = i / 8 / (kTile - real);
        *reinterpret_cast<uint4*>(from.inner[block] + tile_byte(r, i % 8)) = {};
      }
      written_for_products();
      named_barrier(1 + which, kGroupThreads);
    }
    const std::uint32_t outer = shared_address(from.outer[which]);
    const Operand inner = tile_across(shared_address(from.inner));
    std::uint32_t weighted[16];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      load_matrices_transposed(block_address_transposed(outer, k * 16, warp * 16), weighted + 4 * k);
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int first = i / 2 * 8 + lane % 4 * 2;
      const float2 weight = *reinterpret_cast<const float2*>(rows.weight + first), v = unpack_pair(weighted[i]);
      weighted[i] = pack_pair(first < real ? v.x * weight.x : 0.0f, first + 1 < real ? v.y * weight.y : 0.0f);
    }
    s.scale(rows.whole);
    s.hold();
    products_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) s.add_product(weighted + 4 * k, inner + k * 16 * 128);
    products_end();
    wait_for_products<0>();
    s.hold();
    hold(weighted);
    __syncwarp();
    if (lane == 0) barrier_arrive(&space.empty[stage]);
  }
  if (reverse && io.ds != nullptr) {
    s.each_pair([&](float& even, float& odd, int row, int column) {
      if (kept(row, column)) {
        *reinterpret_cast<float2*>(io.ds + place + std::int64_t{row} * a.state + column) = {even, odd};
      }
    });
  }
  if (lane == 0) finish_copies_out();
#endif
}

}  // namespace

void tensor_ssd_states(const char* op, const Stream& stream, const SsdMaps& maps, const Ssd<bf16>& a,
                       const SsdTiles& tiles, const Tensor& s, const Tensor& ds_out, const Tensor& ds,
                       const SsdImages& to) {
  const StatesIo io{data<float>(s),
                    ds_out.defined() ? data<float>(ds_out) : nullptr,
                    ds.defined() ? data<float>(ds) : nullptr,
                    static_cast<unsigned char*>(to.starts.raw()),
                    static_cast<unsigned char*>(to.ends.raw()),
                    tiles};
  const dim3 grid(grid_size(a.cells * a.groups * ceil_div(tiles.of_group, 2)), 2);
  dispatch_state(a.state, [&]<int STATE>() {
    constexpr std::size_t kBytes = sizeof(StatesSpace<STATE>) + 1024;
    const auto kernel = ssd_states_kernel<STATE>;
    WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kBytes)));
    launch_early(op, kernel, grid, kThreads, kBytes, stream, maps.x, maps.dy, maps.bc, a, io);
  });
}

}  // namespace wt::kernels::cuda
