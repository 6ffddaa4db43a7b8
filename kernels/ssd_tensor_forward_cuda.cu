#include <algorithm>

#include "kernels/packed_cuda.cuh"
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

constexpr int kGroupThreads = 128;
constexpr int kCluster = 4;
constexpr int kSpanChunks = 8;
// Texts with more rows are split. By the rows alone: a sample's numbers do not depend on what else is in the batch.
constexpr std::int64_t kSplitRows = 8192;

struct alignas(16) StepRows {
  float l[kTile], delta[kTile], grown[kTile], left[kTile];  // left: with δ
  // Between rows of different sixteens a decay is the product of two that both lie before it: from the end of the
  // sixteen before the later row's to that row, and, with δ, from the earlier row to there.
  float near[kTile], far[3][kTile];
  float whole;
};

constexpr int kTaps = 4;  // of a convolution that is part of the scan
constexpr int kHaloRows = 8;

template <int STATE, bool CONV>
struct ForwardSpace {
  static constexpr int kBlocks = STATE / kTile, kStages = STATE == 64 ? 4 : STATE == 128 ? 3 : 2;
  static constexpr int kHalo = CONV ? kHaloRows * 128 : 0;  // bytes of rows before a tile's own
  struct Stage {
    unsigned char x[2][kHalo + kTileBytes], b[kBlocks][kTileBytes], c[kBlocks][kTileBytes];
  };
  static constexpr int kTurns = STATE <= 128 ? 2 : 1;
  Stage stage[kStages];
  unsigned char m[2][kTurns][kTileBytes];  // by warp groups, in turn
  StepRows steps[kStages][2];
  std::uint64_t full[kStages], converted[kStages], empty[kStages], ready[2];
};

// Of x before the convolution, at its first column; and of the convolution's weights, whose channels begin with x's.
struct ForwardConv {
  const bf16* x;
  std::int64_t stride, channels;
  const void* w;
  bool wide;          // w is in float32
  const float* bias;  // null: zeros
  const bf16* tail;
  bf16* tail_out;
};

struct ForwardIo {
  const float* s;
  float* s_out;
  bf16* y;
  float* hand_over;  // SPLIT: a state for every block's warp groups
  SsdTiles tiles;
  ForwardConv conv;  // CONV
};

template <int STATE, bool SPLIT, bool CONV>
class ForwardBlock {
 public:
  using Space = ForwardSpace<STATE, CONV>;
  static constexpr int kStages = Space::kStages, kBlocks = Space::kBlocks;
  // With larger states no registers are left to make M ahead, nor to have all of a state as parts of A.
  static constexpr bool kAhead = STATE <= 128;
  static constexpr int kBatch = STATE <= 128 ? STATE / 16 : 4;

  __device__ ForwardBlock(const CUtensorMap& x, const CUtensorMap& halo, const CUtensorMap& bc, const Ssd<bf16>& a,
                          const ForwardIo& io, Space& space)
      : x_(x), halo_(halo), bc_(bc), a_(a), io_(io), space_(space), rank_(SPLIT ? rank_in_cluster() : 0) {
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
        barrier_init(&space_.converted[i], 4);
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
        each_chunk([&](int chunk, bool whole, bool, bool) { fetch(chunk, whole); }, [](int) {}, [] {});
      } else if (warp <= held_) {
        make_steps(warp - 1);
      }
    } else if (CONV && warp_group == 3) {
      shrink_registers<56>();
      if constexpr (CONV) convert();
    } else {
      grow_registers<CONV ? 208 : 232>();
      if (warp_group < held_) compute(warp_group);
    }
  }

 private:
  // The order in which chunks are gone through: chunk(index, whether y is wanted, whether it is the first and the last
  // of those that follow each other so); between the two times that a span is gone through comes hand_over(span).
  template <class Chunk, class HandOver, class Begin>
  __device__ void each_chunk(const Chunk& chunk, const HandOver& hand_over, const Begin& begin) {
    if constexpr (SPLIT) {
      for (int span = rank_; span * kSpanChunks < chunks_; span += kCluster) {
        const int first = span * kSpanChunks, end = min(first + kSpanChunks, chunks_);
        begin();
        for (int i = first; i < end; ++i) chunk(i, false, false, false);
        hand_over(span);
        for (int i = first; i < end; ++i) chunk(i, true, i == first, i + 1 == end);
      }
    } else {
      for (int i = 0; i < chunks_; ++i) chunk(i, true, i == 0, i + 1 == chunks_);
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
    barrier_arrive(full, held_ * (kTileBytes + Space::kHalo) + (whole ? 2 : 1) * kBlocks * kTileBytes);
    const int t = chunk * kTile, z = static_cast<int>(cell_);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      copy_tile(to.b[i], bc_, i * kTile, group_, t, z, full);
      if (whole) copy_tile(to.c[i], bc_, i * kTile, a_.groups + group_, t, z, full);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const SsdTile tile = ssd_tile(a_, io_.tiles, group_, first_tile_ + i);
      if (i >= held_) break;
      copy_tile(to.x[i] + Space::kHalo, x_, tile.column, tile.head, t, z, full);
      if constexpr (CONV) copy_tile(to.x[i], halo_, tile.column, tile.head, t - kHaloRows, z, full);
    }
  }
  // By one warp: the steps of a tile's head, chunk after chunk.
  __device__ void make_steps(int which) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int head = ssd_tile(a_, io_.tiles, group_, first_tile_ + which).head;
    const auto read = [&](int chunk) { return ssd_step_inputs(a_, cell_, head, chunk, used_); };
    int following = -1;
    SsdStepInputs next;  // of that chunk
    each_chunk(
        [&](int chunk, bool, bool, bool) {
          const SsdStepInputs in = chunk == following ? next : read(chunk);
          following = chunk + 1;
          next = read(following);
          const SsdSteps steps = ssd_steps(in, a_.least, a_.most);
          const int stage = free_stage();
          StepRows& rows = space_.steps[stage][which];
          *reinterpret_cast<float2*>(rows.l + 2 * lane) = steps.l;
          *reinterpret_cast<float2*>(rows.delta + 2 * lane) = steps.delta;
          *reinterpret_cast<float2*>(rows.grown + 2 * lane) = steps.grown;
          *reinterpret_cast<float2*>(rows.left + 2 * lane) = {steps.left.x * steps.delta.x,
                                                              steps.left.y * steps.delta.y};
          const float ends[3] = {__shfl_sync(0xffffffffu, steps.l.y, 7), __shfl_sync(0xffffffffu, steps.l.y, 15),
                                 __shfl_sync(0xffffffffu, steps.l.y, 23)};
          const auto decay = [](float from, float to) { return power_of_two(fminf(to - from, 0.0f)); };
          const float end = lane < 8 ? 0.0f : lane < 16 ? ends[0] : lane < 24 ? ends[1] : ends[2];
          *reinterpret_cast<float2*>(rows.near + 2 * lane) = {decay(end, steps.l.x), decay(end, steps.l.y)};
#pragma unroll
          for (int i = 0; i < 3; ++i) {
            *reinterpret_cast<float2*>(rows.far[i] + 2 * lane) = {steps.delta.x * decay(steps.l.x, ends[i]),
                                                                  steps.delta.y * decay(steps.l.y, ends[i])};
          }
          if (lane == 0) rows.whole = steps.whole;
          __syncwarp();
          if (lane == 0) barrier_arrive(&space_.full[stage]);
          ++turn_;
        },
        [](int) {}, [] {});
  }

  // The convolution of the tiles in place, by a warp group.
  __device__ void convert();
  __device__ int last_rank() const {
    return SPLIT ? (max(chunks_, 1) - 1) / kSpanChunks % kCluster : 0;
  }

  // By a warp group, all of its 128 threads from here on.
  __device__ void compute(int which) {
    which_ = which;
    thread_ = static_cast<int>(threadIdx.x) % kGroupThreads;
    tile_ = ssd_tile(a_, io_.tiles, group_, first_tile_ + which);
    const std::int64_t weight = std::int64_t{a_.layer(cell_)} * a_.heads + tile_.head;
    skip_ = a_.d[weight];
    state_ = a_.state_place(cell_, tile_.head) + std::int64_t{tile_.column} * a_.state;
    for (int i = thread_; i < Space::kTurns * kTileBytes / 16; i += kGroupThreads) {
      reinterpret_cast<uint4*>(space_.m[which])[i] = {};
    }
    named_barrier(1 + which, kGroupThreads);
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
    float gram[32];
    each_chunk(
        [&](int chunk, bool whole, bool first, bool last) {
          if (whole) {
            if (first || !kAhead) {
              start_gram(gram, chunk, turn_);
              make_m<0>(gram, turn_);
              named_barrier(1 + which_, kGroupThreads);
            }
            if (kAhead && !last) {
              this->template chunk<kAhead>(chunk, gram);
            } else {
              this->template chunk<false>(chunk, gram);
            }
          } else {
            add_chunk(chunk);
          }
        },
        [&](int span) { hand_over(span, waits); },
        [&] {
          whole_ = 1;
          s_.clear();
        });
    if (rank_ == last_rank()) store_state(io_.s_out);
    if (rank_ == 0) clear_padding();
  }

  // Waits for a chunk's rows, and clears b beyond those in use: both warp groups do, each for itself.
  __device__ void wait_for_rows(int chunk, int turn) {
    const int stage = turn % kStages, real = real_rows(chunk);
    barrier_wait(&space_.full[stage], turn / kStages & 1);
    if (real == kTile) return;
    for (int i = thread_; i < (kTile - real) * 8 * kBlocks; i += kGroupThreads) {
      const int r = real + i / 8 % (kTile - real), block = i / 8 / (kTile - real);
      *reinterpret_cast<uint4*>(space_.stage[stage].b[block] + tile_byte(r, i % 8)) = {};
    }
    written_for_products();
    named_barrier(1 + which_, kGroupThreads);
  }
  __device__ void start_gram(float (&gram)[32], int chunk, int turn);
  template <int LEFT>
  __device__ void make_m(float (&gram)[32], int turn);
  __device__ void load_x(int chunk, std::uint32_t (&x)[16]) const;
  __device__ void start_state(const std::uint32_t (&x)[16], std::uint32_t (&weighted)[16]);
  __device__ void release() {
    __syncwarp();
    if (lane() == 0) barrier_arrive(&space_.empty[turn_ % kStages]);
    ++turn_;
  }
  template <bool AHEAD>
  __device__ void chunk(int chunk, float (&gram)[32]);
  // Only the state.
  __device__ void add_chunk(int chunk) {
    std::uint32_t x[16], weighted[16];
    wait_for_rows(chunk, turn_);
    whole_ *= steps(turn_).whole;
    load_x(chunk, x);
    start_state(x, weighted);
    wait_for_products<0>();
    s_.hold();
    hold(weighted);
    release();
  }
  __device__ const StepRows& steps(int turn) const {
    return space_.steps[turn % kStages][which_];
  }
  __device__ int lane() const {
    return thread_ % 32;
  }
  __device__ int warp() const {
    return thread_ / 32;
  }
  // Of the thread's accumulators: the upper row, and the first column of each eight.
  __device__ int row() const {
    return warp() * 16 + lane() / 4;
  }
  __device__ int pair() const {
    return lane() % 4 * 2;
  }

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
    if (span > 0) barrier_wait<true>(&space_.ready[which_], waits++ & 1);
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
    const int column = tile_.column + thread_ % 8 * 8;
    if (column >= a_.width) return;
    for (std::int64_t t = used_ + thread_ / 8; t < a_.rows; t += kGroupThreads / 8) {
      *reinterpret_cast<uint4*>(io_.y + a_.y_place(cell_, t, tile_.head) + column) = {};
    }
  }

  const CUtensorMap &x_, &halo_, &bc_;
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

// c bᵀ of a chunk.
template <int STATE, bool SPLIT, bool CONV>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::start_gram(float (&gram)[32], int chunk, int turn) {
  wait_for_rows(chunk, turn);
  const auto& from = space_.stage[turn % kStages];
  const Operand b = tile_along(shared_address(from.b)), c = tile_along(shared_address(from.c));
  hold(gram);
  products_begin();
#pragma unroll
  for (int k = 0; k < STATE / 16; ++k) wgmma<false, false>(gram, c + column_byte(k), b + column_byte(k), k > 0);
  products_end();
}

// M of that chunk, once it is done: LEFT groups of products were started since. What lies beyond the diagonal was
// cleared once.
template <int STATE, bool SPLIT, bool CONV>
template <int LEFT>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::make_m(float (&gram)[32], int turn) {
  const StepRows& of = steps(turn);
  const std::uint32_t tile = shared_address(space_.m[which_][turn % Space::kTurns]);
  const int row = this->row(), pair = this->pair();
  const float2 near{of.near[row], of.near[row + 8]};
  const float* const far = of.far[max(warp(), 1) - 1];
  wait_for_products<LEFT>();
  hold(gram);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (k > warp()) break;
    std::uint32_t m[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = k * 16 + half * 8 + pair;
      const float* const g = gram + k * 8 + half * 4;
      if (k < warp()) {
        const float2 decay = *reinterpret_cast<const float2*>(far + column);
        m[2 * half] = pack_pair(g[0] * near.x * decay.x, g[1] * near.x * decay.y);
        m[2 * half + 1] = pack_pair(g[2] * near.y * decay.x, g[3] * near.y * decay.y);
      } else {
        const float2 l = *reinterpret_cast<const float2*>(of.l + column);
        const float2 delta = *reinterpret_cast<const float2*>(of.delta + column);
        const auto value = [&](float product, float later, float earlier, float step, bool seen) {
          return seen ? product * power_of_two(fminf(later - earlier, 0.0f)) * step : 0.0f;
        };
        const float low = of.l[row], high = of.l[row + 8];
        m[2 * half] =
            pack_pair(value(g[0], low, l.x, delta.x, column <= row), value(g[1], low, l.y, delta.y, column + 1 <= row));
        m[2 * half + 1] = pack_pair(value(g[2], high, l.x, delta.x, column <= row + 8),
                                    value(g[3], high, l.y, delta.y, column + 1 <= row + 8));
      }
    }
    store_matrices(block_address(tile, warp() * 16, k * 16), m);
  }
  written_for_products();
}

// xᵀ of this turn's chunk as parts of A, zero beyond the rows in use.
template <int STATE, bool SPLIT, bool CONV>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::load_x(int chunk, std::uint32_t (&x)[16]) const {
  const std::uint32_t tile = shared_address(space_.stage[turn_ % kStages].x[which_] + Space::kHalo);
  if constexpr (CONV) barrier_wait(&space_.converted[turn_ % kStages], turn_ / kStages & 1);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    load_matrices_transposed(block_address_transposed(tile, k * 16, warp() * 16), x + 4 * k);
  }
  const int real = real_rows(chunk);
  if (real == kTile) return;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const int first = i / 2 * 8 + pair();
    if (first >= real) x[i] = 0;
    if (first + 1 == real) x[i] &= 0xffffu;
  }
}

// The state after this turn's chunk.
template <int STATE, bool SPLIT, bool CONV>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::start_state(const std::uint32_t (&x)[16],
                                                              std::uint32_t (&weighted)[16]) {
  const StepRows& of = steps(turn_);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float2 left = *reinterpret_cast<const float2*>(of.left + i * 8 + pair());
    const float2 low = unpack_pair(x[i * 2]), high = unpack_pair(x[i * 2 + 1]);
    weighted[i * 2] = pack_pair(low.x * left.x, low.y * left.y);
    weighted[i * 2 + 1] = pack_pair(high.x * left.x, high.y * left.y);
  }
  s_.scale(of.whole);
  s_.hold();
  const Operand b = tile_across(shared_address(space_.stage[turn_ % kStages].b));
  products_begin();
#pragma unroll
  for (int k = 0; k < 4; ++k) s_.add_product(weighted + 4 * k, b + k * 16 * 128);
  products_end();
}

// A chunk whose M is there; AHEAD: makes that of the next one while the tensor cores are busy with this one's products.
template <int STATE, bool SPLIT, bool CONV>
template <bool AHEAD>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::chunk(int chunk, float (&gram)[32]) {
  const int real = real_rows(chunk);
  const StepRows& of = steps(turn_);
  const Operand c = tile_along(shared_address(space_.stage[turn_ % kStages].c));
  const Operand m = tile_along(shared_address(space_.m[which_][turn_ % Space::kTurns]));
  float y[32];
  std::uint32_t x[16], weighted[16], parts[kBatch][4];
  load_x(chunk, x);
#pragma unroll
  for (int first = 0; first < STATE / 16; first += kBatch) {
    if (first > 0) wait_for_products<0>();
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (first > 0) hold(parts[k]);
      s_.part(first + k, parts[k]);
    }
    hold(y);
    products_begin();
#pragma unroll
    for (int k = 0; k < kBatch; ++k) wgmma<false>(y, parts[k], c + column_byte(first + k), first + k > 0);
    products_end();
  }
  float2 grown[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) grown[i] = *reinterpret_cast<const float2*>(of.grown + i * 8 + pair());
  if constexpr (AHEAD) {
    start_gram(gram, chunk + 1, turn_ + 1);
    wait_for_products<1>();
  } else {
    wait_for_products<0>();
  }
  hold(y);
#pragma unroll
  for (int k = 0; k < kBatch; ++k) hold(parts[k]);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float2 low = unpack_pair(x[i * 2]), high = unpack_pair(x[i * 2 + 1]);
    y[4 * i] = y[4 * i] * grown[i].x + skip_ * low.x;
    y[4 * i + 1] = y[4 * i + 1] * grown[i].y + skip_ * low.y;
    y[4 * i + 2] = y[4 * i + 2] * grown[i].x + skip_ * high.x;
    y[4 * i + 3] = y[4 * i + 3] * grown[i].y + skip_ * high.y;
  }
  hold(y);
  products_begin();
#pragma unroll
  for (int k = 0; k < 4; ++k) wgmma<false>(y, x + 4 * k, m + column_byte(k));
  products_end();
  start_state(x, weighted);
  if constexpr (AHEAD) make_m<2>(gram, turn_ + 1);

  wait_for_products<1>();
  hold(y);
  hold(x);
  // A warp's columns of x are where its rows of Yᵀ go.
  unsigned char* const tile = space_.stage[turn_ % kStages].x[which_] + Space::kHalo;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    std::uint32_t out[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = pack_pair(y[8 * k + 2 * i], y[8 * k + 2 * i + 1]);
    store_matrices_transposed(block_address_transposed(shared_address(tile), k * 16, warp() * 16), out);
  }
  named_barrier(1 + which_, kGroupThreads);
  const int piece = thread_ % 8, ours = thread_ / 8;
  const std::int64_t next = std::int64_t{16} * a_.heads * a_.width;
  bf16* to = io_.y + a_.y_place(cell_, std::int64_t{chunk} * kTile + ours, tile_.head) + tile_.column + piece * 8;
  const int rows = tile_.column + piece * 8 < a_.width ? real : 0;
  uint4 out[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) out[i] = *reinterpret_cast<const uint4*>(tile + tile_byte(i * 16 + ours, piece));
#pragma unroll
  for (int i = 0; i < 4; ++i, to += next) {
    if (i * 16 + ours < rows) *reinterpret_cast<uint4*>(to) = out[i];
  }
  wait_for_products<0>();
  s_.hold();
  hold(weighted);
  release();
}

// A thread has two columns of sixteen rows of both tiles.
template <int STATE, bool SPLIT, bool CONV>
__device__ void ForwardBlock<STATE, SPLIT, CONV>::convert() {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, columns = thread % 32 * 2, strip = thread / 32;
  const ForwardConv& conv = io_.conv;
  const auto channel_of = [&](int i) {
    const SsdTile tile = ssd_tile(a_, io_.tiles, group_, first_tile_ + i);
    return std::int64_t{tile.head} * a_.width + tile.column + columns;
  };
  const auto there = [&](int i) {
    return i < held_ && ssd_tile(a_, io_.tiles, group_, first_tile_ + i).column + columns < a_.width;
  };
  // A row before the text's first.
  const auto old_row = [&](int i, std::int64_t row) {
    return *reinterpret_cast<const std::uint32_t*>(conv.tail + (cell_ * (kTaps - 1) + row) * conv.channels +
                                                   channel_of(i));
  };
  float2 w[2][kTaps] = {}, bias[2] = {};
  std::uint32_t before[2][kTaps - 1] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (!there(i)) continue;
    const std::int64_t at = std::int64_t{a_.layer(cell_)} * conv.channels + channel_of(i);
    const auto tap = [&](int k) {
      return conv.wide ? static_cast<const float*>(conv.w)[at * kTaps + k]
                       : to_float(static_cast<const bf16*>(conv.w)[at * kTaps + k]);
    };
#pragma unroll
    for (int k = 0; k < kTaps; ++k) w[i][k] = {tap(k), tap(kTaps + k)};
    if (conv.bias != nullptr) bias[i] = {conv.bias[at], conv.bias[at + 1]};
#pragma unroll
    for (int r = 0; r < kTaps - 1; ++r) before[i][r] = old_row(i, r);
  }

  const auto word = [&](unsigned char* rows, int row) {
    return reinterpret_cast<std::uint32_t*>(rows + tile_byte(row + kHaloRows, columns / 8) + columns % 8 * 2);
  };
  each_chunk(
      [&](int chunk, bool, bool, bool) {
        const int stage = turn_ % kStages;
        barrier_wait(&space_.full[stage], turn_ / kStages & 1);
        std::uint32_t halo[2][kTaps - 1];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int r = 0; r < kTaps - 1; ++r) {
            halo[i][r] = *word(space_.stage[stage].x[i], strip * 16 - (kTaps - 1) + r);
            if (chunk == 0 && strip == 0) halo[i][r] = before[i][r];
          }
        }
        named_barrier(4, kGroupThreads);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (i >= held_) break;
          unsigned char* const rows = space_.stage[stage].x[i];
          float2 window[kTaps];  // row r is at r % kTaps
#pragma unroll
          for (int r = 0; r < kTaps - 1; ++r) window[r + 1] = unpack_pair(halo[i][r]);
#pragma unroll
          for (int r = 0; r < 16; ++r) {
            std::uint32_t* const at = word(rows, strip * 16 + r);
            window[r % kTaps] = unpack_pair(*at);
            float2 u = bias[i];
#pragma unroll
            for (int k = 0; k < kTaps; ++k) {
              u.x += w[i][k].x * window[(r + 1 + k) % kTaps].x;
              u.y += w[i][k].y * window[(r + 1 + k) % kTaps].y;
            }
            *at = pack_pair(u.x * sigmoid(u.x), u.y * sigmoid(u.y));
          }
        }
        __syncwarp();
        if (thread % 32 == 0) barrier_arrive(&space_.converted[stage]);
        ++turn_;
      },
      [](int) {}, [] {});

  // The new tail, which may lie where the old one does.
  if (rank_ != last_rank() || strip >= kTaps - 1) {
    if (rank_ == last_rank()) named_barrier(4, kGroupThreads);
    return;
  }
  std::uint32_t last[2] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (!there(i)) continue;
    const std::int64_t row = used_ + strip - (kTaps - 1);
#pragma unroll
    for (int r = 0; r < kTaps - 1; ++r) {
      if (used_ + strip == r) last[i] = before[i][r];
    }
    if (row >= 0) {
      last[i] = *reinterpret_cast<const std::uint32_t*>(conv.x + (cell_ * a_.rows + row) * conv.stride + channel_of(i));
    }
  }
  named_barrier(4, kGroupThreads);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (!there(i)) continue;
    *reinterpret_cast<std::uint32_t*>(conv.tail_out + (cell_ * (kTaps - 1) + strip) * conv.channels + channel_of(i)) =
        last[i];
  }
}

template <bool CONV>
inline constexpr int kForwardThreads = (CONV ? 4 : 3) * kGroupThreads;

template <int STATE, bool SPLIT, bool CONV>
__global__ void __launch_bounds__(kForwardThreads<CONV>, 1)
    ssd_forward_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap halo,
                       const __grid_constant__ CUtensorMap bc, const __grid_constant__ Ssd<bf16> a,
                       const __grid_constant__ ForwardIo io) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char raw[];
  auto& space = *reinterpret_cast<ForwardSpace<STATE, CONV>*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
  ForwardBlock<STATE, SPLIT, CONV>(x, halo, bc, a, io, space).run();
#endif
}

struct ForwardMaps {
  CUtensorMap x, halo, bc;
};

template <bool CONV>
void run_forward(const char* op, const Stream& stream, const ForwardMaps& maps, const Ssd<bf16>& a, ForwardIo io) {
  const std::int64_t pairs = a.cells * a.groups * ceil_div(io.tiles.of_group, 2);
  const auto run = [&]<int STATE, bool SPLIT>() {
    constexpr int kClusterBlocks = SPLIT ? kCluster : 1;
    constexpr std::size_t kBytes = sizeof(ForwardSpace<STATE, CONV>) + 1024;
    const auto kernel = ssd_forward_kernel<STATE, SPLIT, CONV>;
    WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kBytes)));
    Tensor hand_over;
    if constexpr (SPLIT) {
      hand_over = Tensor::empty(stream, {pairs * kCluster * 2, kTile, STATE}, DType::kF32);
      io.hand_over = data<float>(hand_over);
    }
    launch_early_in_clusters(op, kernel, grid_size(pairs * kClusterBlocks), kForwardThreads<CONV>, kBytes,
                             kClusterBlocks, stream, maps.x, maps.halo, maps.bc, a, io);
  };
  dispatch_state(a.state, [&]<int STATE>() {
    // The convolution leaves too few registers for larger states.
    if constexpr (!CONV || STATE <= 128) {
      if (a.rows > kSplitRows) {
        run.template operator()<STATE, true>();
      } else {
        run.template operator()<STATE, false>();
      }
    }
  });
}

}  // namespace

bool tensor_ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                        const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y,
                        const Tensor& s_out) {
  if (!tensor_ssd_fits(stream, shape, xbc, {&xbc, &s, &y, &s_out})) return false;
  const Ssd<bf16> a = ssd_arguments<bf16>(xbc, dt, weights, shape, cells);
  const CUtensorMap x = x_map(a);
  run_forward<false>("ssd", stream, {x, x, bc_map(a)}, a,
                     {data<float>(s), data<float>(s_out), data<bf16>(y), nullptr, ssd_tiles(shape), {}});
  return true;
}

void tensor_conv_scan(const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w, const Tensor& bias,
                      const Tensor& tail, const Tensor& bc, const Tensor& dt, const SsdWeights& weights,
                      const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y,
                      const Tensor& tail_out, const Tensor& s_out) {
  const ForwardConv conv{data<bf16>(x) + column,
                         x.dim(3),
                         w.dim(1),
                         w.raw(),
                         w.dtype() == DType::kF32,
                         bias.defined() ? data<float>(bias) : nullptr,
                         data<bf16>(tail),
                         data<bf16>(tail_out)};
  const Ssd<bf16> a = ssd_arguments<bf16>(x, dt, weights, shape, cells);
  const TileBlocks heads{a.width, a.heads, conv.stride, a.rows, a.cells};
  const TileBlocks groups{a.state, 2 * a.groups, bc.dim(3), a.rows, a.cells};
  run_forward<true>("mamba2", stream,
                    {tile_map(conv.x, heads), tile_map(conv.x, heads, kHaloRows), tile_map(data<bf16>(bc), groups)}, a,
                    {data<float>(s), data<float>(s_out), data<bf16>(y), nullptr, ssd_tiles(shape), conv});
}

}  // namespace wt::kernels::cuda
