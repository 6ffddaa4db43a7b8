#include <algorithm>

#include "kernels/ssd_tensor_cuda.cuh"

// The scan by chunks of 64 rows. A block has two tiles of one group, a warp group each, and goes through the chunks
// with their states in registers; one more warp fetches the rows and makes the steps. With a tile's columns as rows
// (p), so that a state is a product's left side as it lies in the accumulators:
//   Yᵀ = (S cᵀ) diag(e^l) + d xᵀ + xᵀ Mᵀ,   M = (c bᵀ) ∘ E diag(δ),   S' = e^l_Q S + (xᵀ diag(δ e^(l_Q - l))) b
// A long text is cut into spans, of which a cluster of blocks has one each at a time (SPLIT): every block makes what
// its span adds to a state that starts at zero, gets the state before its span from the block before, hands its own end
// on, and then goes through its span, whose rows the second level cache still holds.
namespace wt::kernels::cuda {
namespace {

constexpr int kGroupThreads = 128, kThreads = 3 * kGroupThreads;
constexpr int kCluster = 4;
constexpr int kSpanChunks = 8;
// Texts with more rows are split. By the rows alone: a sample's numbers do not depend on what else is in the batch.
constexpr std::int64_t kSplitRows = 8192;

struct alignas(16) StepRows {
  float l[kTile], delta[kTile], grown[kTile], left[kTile];  // left: with δ
  float whole;
};

template <int STATE>
struct ForwardSpace {
  static constexpr int kBlocks = STATE / kTile, kStages = STATE == 64 ? 4 : STATE == 128 ? 3 : 2;
  struct Stage {
    unsigned char x[2][kTileBytes], b[kBlocks][kTileBytes], c[kBlocks][kTileBytes];
  };
  Stage stage[kStages];
  unsigned char m[2][kTileBytes], y[2][kTileBytes];
  StepRows steps[kStages][2];
  std::uint64_t full[kStages], empty[kStages], ready[2];
};

struct ForwardIo {
  const float* s;
  float* s_out;
  bf16* y;
  float* hand_over;  // SPLIT: a state for every block's warp groups
  SsdTiles tiles;
};

template <int STATE, bool SPLIT>
class ForwardBlock {
 public:
  using Space = ForwardSpace<STATE>;
  static constexpr int kStages = Space::kStages, kBlocks = Space::kBlocks;
  static constexpr int kBatch = STATE <= 128 ? STATE / 16 : 4;

  __device__ ForwardBlock(const CUtensorMap& x, const CUtensorMap& bc, const Ssd<bf16>& a, const ForwardIo& io,
                          Space& space)
      : x_(x), bc_(bc), a_(a), io_(io), space_(space), rank_(SPLIT ? rank_in_cluster() : 0) {
    const int pairs = (io.tiles.of_group + 1) / 2;
    work_ = static_cast<int>(SPLIT ? blockIdx.x / kCluster : blockIdx.x);
    cell_ = work_ / pairs / a.groups;
    group_ = work_ / pairs % a.groups;
    first_tile_ = work_ % pairs * 2;
    held_ = min(2, io.tiles.of_group - first_tile_);
  }

  __device__ void run() {
    if (threadIdx.x == 0) {
#pragma unroll
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&space_.full[i], 1 + held_);
        barrier_init(&space_.empty[i], 4 * held_);
      }
      barrier_init(&space_.ready[0], 1);
      barrier_init(&space_.ready[1], 1);
      barriers_are_made();
    }
    if constexpr (SPLIT) {
      cluster_barrier();
    } else {
      __syncthreads();
    }
    let_next_begin();
    wait_for_previous();
    used_ = a_.used(cell_);
    chunks_ = static_cast<int>((used_ + kTile - 1) / kTile);
    const int warp_group = static_cast<int>(threadIdx.x) / kGroupThreads;
    if (warp_group == 2) {
      shrink_registers<40>();
      const int warp = static_cast<int>(threadIdx.x / 32 % 4);
      if (warp == 0) {
        each_chunk([&](int chunk, bool whole) { fetch(chunk, whole); }, [](int) {}, [] {});
      } else if (warp <= held_) {
        make_steps(warp - 1);
      }
    } else {
      grow_registers<232>();
      if (warp_group < held_) compute(warp_group);
    }
  }

 private:
  // The order in which chunks are gone through: chunk(index, whether y is wanted); between the two times that a span is
  // gone through comes hand_over(span).
  template <class Chunk, class HandOver, class Begin>
  __device__ void each_chunk(const Chunk& chunk, const HandOver& hand_over, const Begin& begin) {
    if constexpr (SPLIT) {
      for (int span = rank_; span * kSpanChunks < chunks_; span += kCluster) {
        const int first = span * kSpanChunks, end = min(first + kSpanChunks, chunks_);
        begin();
        for (int i = first; i < end; ++i) chunk(i, false);
        hand_over(span);
        for (int i = first; i < end; ++i) chunk(i, true);
      }
    } else {
      for (int i = 0; i < chunks_; ++i) chunk(i, true);
    }
  }
  __device__ int real_rows(int chunk) const {
    return static_cast<int>(min(std::int64_t{kTile}, used_ - std::int64_t{chunk} * kTile));
  }

  // The stage that is next to be filled, once it has been emptied.
  __device__ int free_stage() {
    const int stage = turn_ % kStages;
    if (turn_ >= kStages) barrier_wait(&space_.empty[stage], turn_ / kStages - 1 & 1);
    return stage;
  }
  // By one warp: a chunk's rows into the next stage.
  __device__ void fetch(int chunk, bool whole) {
    const int stage = free_stage();
    ++turn_;
    if (threadIdx.x % 32 != 0) return;
    auto& to = space_.stage[stage];
    std::uint64_t* const full = &space_.full[stage];
    barrier_arrive(full, (held_ + (whole ? 2 : 1) * kBlocks) * kTileBytes);
    const int t = chunk * kTile, z = static_cast<int>(cell_);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      copy_tile(to.b[i], bc_, i * kTile, group_, t, z, full);
      if (whole) copy_tile(to.c[i], bc_, i * kTile, a_.groups + group_, t, z, full);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const SsdTile tile = ssd_tile(a_, io_.tiles, group_, first_tile_ + i);
      if (i < held_) copy_tile(to.x[i], x_, tile.column, tile.head, t, z, full);
    }
  }
  // By one warp: the steps of a tile's head, chunk after chunk.
  __device__ void make_steps(int which) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const SsdStepper<bf16> stepper(a_, cell_, ssd_tile(a_, io_.tiles, group_, first_tile_ + which).head, used_);
    each_chunk(
        [&](int chunk, bool) {
          const SsdSteps steps = stepper.steps(chunk);
          const int stage = free_stage();
          StepRows& rows = space_.steps[stage][which];
          *reinterpret_cast<float2*>(rows.l + 2 * lane) = steps.l;
          *reinterpret_cast<float2*>(rows.delta + 2 * lane) = steps.delta;
          *reinterpret_cast<float2*>(rows.grown + 2 * lane) = steps.grown;
          *reinterpret_cast<float2*>(rows.left + 2 * lane) = {steps.left.x * steps.delta.x,
                                                              steps.left.y * steps.delta.y};
          if (lane == 0) rows.whole = steps.whole;
          __syncwarp();
          if (lane == 0) barrier_arrive(&space_.full[stage]);
          ++turn_;
        },
        [](int) {}, [] {});
  }

  // By a warp group, all of its 128 threads from here on.
  __device__ void compute(int which) {
    which_ = which;
    thread_ = static_cast<int>(threadIdx.x) % kGroupThreads;
    tile_ = ssd_tile(a_, io_.tiles, group_, first_tile_ + which);
    const std::int64_t weight = std::int64_t{a_.layer(cell_)} * a_.heads + tile_.head;
    skip_ = a_.d[weight];
    state_ = a_.state_place(cell_, tile_.head) + std::int64_t{tile_.column} * a_.state;
    if (rank_ == 0) load_state(io_.s);
    if constexpr (SPLIT) {
      // The first span finds it where others find the end of the one before.
#pragma unroll
      for (int i = 0; i < kPieces && rank_ == 0; ++i) {
        const float* const v = piece(i);
        slot(kCluster - 1)[i * kGroupThreads] = {v[0], v[1], v[2], v[3]};
      }
    }
    int waits = 0;
    each_chunk([&](int chunk, bool whole) { this->chunk(chunk, whole); }, [&](int span) { hand_over(span, waits); },
               [&] {
                 whole_ = 1;
                 s_.clear();
               });
    const int last = SPLIT ? (max(chunks_, 1) - 1) / kSpanChunks % kCluster : 0;
    if (rank_ == last) store_state(io_.s_out);
    if (rank_ == 0) clear_padding();
  }

  __device__ void wait_for_stage(int stage) {
    barrier_wait(&space_.full[stage], turn_ / kStages & 1);
  }

  __device__ void chunk(int chunk, bool whole);

  // Where the block of this rank leaves the state at its span's end: four accumulators at a time.
  static constexpr int kPieces = STATE / 8;
  __device__ float4* slot(int rank) const {
    return reinterpret_cast<float4*>(io_.hand_over) +
           ((std::int64_t{work_} * kCluster + rank) * 2 + which_) * kPieces * kGroupThreads + thread_;
  }
  __device__ float* piece(int i) {
    constexpr int kWide = StateTile<STATE>::kWide;
    return s_.v[i * 8 / kWide] + i * 8 % kWide / 2;
  }
  // s_ is what the span adds to a state; afterwards it is the state at the span's start.
  __device__ void hand_over(int span, int& waits) {
    const bool more = (span + 1) * kSpanChunks < chunks_;
    float4* const to = slot(rank_);
    const float4* const from = slot((rank_ + kCluster - 1) % kCluster);
    if (span > 0) barrier_wait(&space_.ready[which_], waits++ & 1);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      float* const v = piece(i);
      const float4 before = __ldcg(from + i * kGroupThreads);
      if (more) {
        to[i * kGroupThreads] = {whole_ * before.x + v[0], whole_ * before.y + v[1], whole_ * before.z + v[2],
                                 whole_ * before.w + v[3]};
      }
      v[0] = before.x;
      v[1] = before.y;
      v[2] = before.z;
      v[3] = before.w;
    }
    if (!more) return;
    __threadfence();
    named_barrier(1 + which_, kGroupThreads);
    if (thread_ == 0) barrier_arrive_at(&space_.ready[which_], (rank_ + 1) % kCluster);
  }

  __device__ bool kept(int row, int column) const {
    return tile_.column + row < a_.width && column < a_.state;
  }
  __device__ void load_state(const float* from) {
    s_.each_pair([&](float& even, float& odd, int row, int column) {
      float2 v{0, 0};
      if (kept(row, column)) {
        v = *reinterpret_cast<const float2*>(from + state_ + std::int64_t{row} * a_.state + column);
      }
      even = v.x;
      odd = v.y;
    });
  }
  __device__ void store_state(float* to) {
    s_.each_pair([&](float& even, float& odd, int row, int column) {
      if (kept(row, column)) {
        *reinterpret_cast<float2*>(to + state_ + std::int64_t{row} * a_.state + column) = {even, odd};
      }
    });
  }
  // What padding holds means nothing, but a NaN there would spread through products over rows.
  __device__ void clear_padding() {
    for (std::int64_t t = used_ + thread_ / 8; t < a_.rows; t += kGroupThreads / 8) store_row(t, thread_ % 8, {});
  }
  __device__ void store_row(std::int64_t t, int piece, const uint4& value) {
    const int column = tile_.column + piece * 8;
    if (column < a_.width) *reinterpret_cast<uint4*>(io_.y + a_.y_place(cell_, t, tile_.head) + column) = value;
  }

  const CUtensorMap &x_, &bc_;
  const Ssd<bf16>& a_;
  const ForwardIo& io_;
  Space& space_;
  int rank_, work_, group_, first_tile_, held_;
  std::int64_t cell_, used_ = 0;
  int chunks_ = 0, turn_ = 0;  // turn: stages that were filled, or emptied, so far
  int which_ = 0, thread_ = 0;
  SsdTile tile_{};
  float skip_ = 0, whole_ = 1;  // whole: by what the span's rows scale the state
  std::int64_t state_ = 0;
  StateTile<STATE> s_;
};

template <int STATE, bool SPLIT>
__device__ void ForwardBlock<STATE, SPLIT>::chunk(int chunk, bool whole) {
  const int stage = turn_ % kStages, real = real_rows(chunk);
  const int lane = thread_ % 32, warp = thread_ / 32;
  const int row = warp * 16 + lane / 4, pair = lane % 4 * 2;  // of the thread's accumulators
  auto& from = space_.stage[stage];
  const StepRows& steps = space_.steps[stage][which_];
  wait_for_stage(stage);
  if (!whole) whole_ *= steps.whole;
  const std::uint32_t x_tile = shared_address(from.x[which_]), b_tiles = shared_address(from.b);
  const std::uint32_t c_tiles = shared_address(from.c), m_tile = shared_address(space_.m[which_]);
  if (real < kTile) {
    // Both warp groups do, each for itself.
    for (int i = thread_; i < (kTile - real) * 8 * kBlocks; i += kGroupThreads) {
      const int r = real + i / 8 % (kTile - real), block = i / 8 / (kTile - real);
      *reinterpret_cast<uint4*>(from.b[block] + tile_byte(r, i % 8)) = {};
    }
    written_for_products();
    named_barrier(1 + which_, kGroupThreads);
  }

  float gram[32], y[32];
  std::uint32_t x[16], parts[kBatch][4];
  // y (+)= S cᵀ over columns [16 first, 16 (first + kBatch)) of the state.
  const auto take_parts = [&](int first) {
#pragma unroll
    for (int k = 0; k < kBatch; ++k) s_.part(first + k, parts[k]);
  };
  const auto meet_state = [&](int first) {
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int block = (first + k) / 4, at = (first + k) % 4 * 32;
      wgmma<false>(y, parts[k], tile_along(c_tiles + block * kTileBytes + at), first + k > 0);
    }
    products_end();
  };
  const auto state_is_met = [&] {
    wait_for_products<0>();
    hold(y);
#pragma unroll
    for (int k = 0; k < kBatch; ++k) hold(parts[k]);
  };
#pragma unroll
  for (int k = 0; k < 4; ++k) load_matrices_transposed(block_address_transposed(x_tile, k * 16, warp * 16), x + 4 * k);
  if (real < kTile) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int first = i / 4 * 16 + i % 4 / 2 * 8 + pair;
      if (first >= real) x[i] = 0;
      if (first + 1 == real) x[i] &= 0xffffu;
    }
  }
  if (whole) {
    if constexpr (STATE <= 128) take_parts(0);
    hold(gram);
    hold(y);
    products_begin();
#pragma unroll
    for (int k = 0; k < STATE / 16; ++k) {
      const int at = k / 4 * kTileBytes + k % 4 * 32;
      wgmma<false, false>(gram, tile_along(c_tiles + at), tile_along(b_tiles + at), k > 0);
    }
    products_end();
    // Larger states leave no registers for the other product beside this one.
    if constexpr (STATE <= 128) {
      meet_state(0);
      wait_for_products<1>();
    } else {
      wait_for_products<0>();
    }
    hold(gram);
    // M, of which columns beyond a warp's last row are zero.
    const float l_low = steps.l[row], l_high = steps.l[row + 8];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      std::uint32_t m[4] = {};
      if (k <= warp) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int column = k * 16 + half * 8 + pair;
          const float2 l = *reinterpret_cast<const float2*>(steps.l + column);
          const float2 delta = *reinterpret_cast<const float2*>(steps.delta + column);
          const float* const g = gram + k * 8 + half * 4;
          const auto value = [&](float product, float difference, float step, bool seen) {
            return seen ? product * power_of_two(fminf(difference, 0.0f)) * step : 0.0f;
          };
          m[2 * half] = pack_pair(value(g[0], l_low - l.x, delta.x, column <= row),
                                  value(g[1], l_low - l.y, delta.y, column + 1 <= row));
          m[2 * half + 1] = pack_pair(value(g[2], l_high - l.x, delta.x, column <= row + 8),
                                      value(g[3], l_high - l.y, delta.y, column + 1 <= row + 8));
        }
      }
      store_matrices(block_address(m_tile, warp * 16, k * 16), m);
    }
    written_for_products();
    named_barrier(1 + which_, kGroupThreads);
    if constexpr (STATE > 128) {
#pragma unroll
      for (int first = 0; first < STATE / 16; first += kBatch) {
        if (first > 0) state_is_met();
        take_parts(first);
        hold(y);
        products_begin();
        meet_state(first);
      }
    }
    state_is_met();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float2 grown = *reinterpret_cast<const float2*>(steps.grown + i * 8 + pair);
      const float2 low = unpack_pair(x[i * 2]), high = unpack_pair(x[i * 2 + 1]);
      y[4 * i] = y[4 * i] * grown.x + skip_ * low.x;
      y[4 * i + 1] = y[4 * i + 1] * grown.y + skip_ * low.y;
      y[4 * i + 2] = y[4 * i + 2] * grown.x + skip_ * high.x;
      y[4 * i + 3] = y[4 * i + 3] * grown.y + skip_ * high.y;
    }
    hold(y);
    products_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma<false>(y, x + 4 * k, tile_along(m_tile + k * 32));
    products_end();
  }
  std::uint32_t weighted[16];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float2 left = *reinterpret_cast<const float2*>(steps.left + i * 8 + pair);
    const float2 low = unpack_pair(x[i * 2]), high = unpack_pair(x[i * 2 + 1]);
    weighted[i * 2] = pack_pair(low.x * left.x, low.y * left.y);
    weighted[i * 2 + 1] = pack_pair(high.x * left.x, high.y * left.y);
  }
  s_.scale(steps.whole);
  s_.hold();
  products_begin();
#pragma unroll
  for (int k = 0; k < 4; ++k) s_.add_product(weighted + 4 * k, b_tiles + k * 16 * 128);
  products_end();
  if (whole) {
    wait_for_products<1>();
    hold(y);
    hold(x);
    const std::uint32_t y_tile = shared_address(space_.y[which_]);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      std::uint32_t out[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) out[i] = pack_pair(y[8 * k + 2 * i], y[8 * k + 2 * i + 1]);
      store_matrices_transposed(block_address_transposed(y_tile, k * 16, warp * 16), out);
    }
    named_barrier(1 + which_, kGroupThreads);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = i * 16 + thread_ / 8, piece = thread_ % 8;
      const uint4 value = *reinterpret_cast<const uint4*>(space_.y[which_] + tile_byte(r, piece));
      if (r < real) store_row(std::int64_t{chunk} * kTile + r, piece, value);
    }
  }
  wait_for_products<0>();
  s_.hold();
  hold(weighted);
  __syncwarp();
  if (lane == 0) barrier_arrive(&space_.empty[stage]);
  ++turn_;
}

template <int STATE, bool SPLIT>
__global__ void __launch_bounds__(kThreads, 1)
    ssd_forward_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap bc,
                       const __grid_constant__ Ssd<bf16> a, const __grid_constant__ ForwardIo io) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char raw[];
  auto& space = *reinterpret_cast<ForwardSpace<STATE>*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
  ForwardBlock<STATE, SPLIT>(x, bc, a, io, space).run();
#endif
}

}  // namespace

bool tensor_ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                        const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y,
                        const Tensor& s_out) {
  if (!tensor_ssd_fits(stream, shape, xbc, {&xbc, &s, &y, &s_out})) return false;
  const char* op = "ssd";
  const Ssd<bf16> a = ssd_arguments<bf16>(xbc, dt, weights, shape, cells);
  const CUtensorMap x = x_map(a), bc = bc_map(a);
  ForwardIo io{data<float>(s), data<float>(s_out), data<bf16>(y), nullptr, ssd_tiles(shape)};
  const std::int64_t pairs = a.cells * a.groups * ceil_div(io.tiles.of_group, 2);
  const auto run = [&]<int STATE, bool SPLIT>() {
    constexpr int kClusterBlocks = SPLIT ? kCluster : 1;
    constexpr std::size_t kBytes = sizeof(ForwardSpace<STATE>) + 1024;
    const auto kernel = ssd_forward_kernel<STATE, SPLIT>;
    WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kBytes)));
    Tensor hand_over;
    if constexpr (SPLIT) {
      hand_over = Tensor::empty(stream, {pairs * kCluster * 2, kTile, STATE}, DType::kF32);
      io.hand_over = data<float>(hand_over);
    }
    launch_early_in_clusters(op, kernel, grid_size(pairs * kClusterBlocks), kThreads, kBytes, kClusterBlocks, stream, x,
                             bc, a, io);
  };
  dispatch_state(shape.state, [&]<int STATE>() {
    if (a.rows > kSplitRows) {
      run.template operator()<STATE, true>();
    } else {
      run.template operator()<STATE, false>();
    }
  });
  return true;
}

}  // namespace wt::kernels::cuda
