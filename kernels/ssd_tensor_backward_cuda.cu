#include <algorithm>

#include "kernels/ssd_tensor_cuda.cuh"

// The backward pass of a chunk of 64 rows, once the states at its start (S) and the gradients of those at its end (dS')
// are made. A block has a chunk, a group, and so many of the group's heads, through which it goes with what they share
// in registers. Rows i mean queries (c, y), rows j keys (b, x); X = δ x, w_j = e^(l_Q - l_j):
//   warp group 0, by keys     Gᵀ = b cᵀ once;  Dᵀ = X dyᵀ ∘ Eᵀ,  dGᵀ = Σ_heads Dᵀ,  Vᵀ = Dᵀ ∘ Gᵀ,  dX = (G ∘ E)ᵀ dy + w
//   b dS'ᵀ warp group 1              dc = Σ_heads (e^l dy) S,  db = Σ_heads (w X) dS',  off_i = e^l_i dy_i·S c_i, ⟨dS',
//   S⟩ warp group 2              fetches, makes the steps, and from their sums dα: dα_t = Σ_{i≥t} (Σ_{j<i} V_ij -
//   Σ_{k>i} V_ki + off_i) + Σ_{j<t} X_j·w_j dS' b_j + e^l_Q ⟨dS', S⟩
// At the end warp group 1 adds dG b to dc and dGᵀ c to db. The heads that one block goes through do not depend on the
// batch; the blocks' dc and db are added in order.
namespace wt::kernels::cuda {
namespace {

constexpr int kGroupThreads = 128, kThreads = 3 * kGroupThreads;
constexpr int kPartTiles = 16;  // that a block goes through
// Images that are kept at once, where a cell needs no more.
constexpr std::int64_t kImageBytes = std::int64_t{1} << 31;

// Steps of a tile's head, and the sums over rows or columns that dα is made of.
struct alignas(16) BackwardRows {
  float l[kTile], delta[kTile], slope[kTile], grown[kTile], left[kTile];
  float crossed[4][kTile];  // Σ_{j<i} V_ij, by the warps that have the j
  float crossing[kTile], off[kTile], key[kTile], dot[kTile];
  float carried[4], skip[4], whole;
};

template <int STATE>
struct BackwardSpace {
  static constexpr int kBlocks = STATE / kTile, kStages = STATE == 64 ? 4 : 3;
  struct Stage {
    unsigned char x[kTileBytes], dy[kTileBytes], s[kBlocks][kTileBytes], ds[kBlocks][kTileBytes];
  };
  Stage stage[kStages];
  unsigned char b[kBlocks][kTileBytes], c[kBlocks][kTileBytes];
  unsigned char out[kTileBytes], dgram[kTileBytes];
  BackwardRows rows[kStages];
  std::uint64_t once, full[kStages], summed[kStages], empty[kStages];
};

struct BackwardIo {
  const unsigned char *starts, *ends;
  bf16* dxbc;
  float* ddt;
  float *a_log, *d, *dt_bias;  // sums of a chunk, (cells, chunks, heads); null: not wanted
  float* parts;                // db and dc of a block: (cells at work, chunks, groups, parts, 2, 64, STATE)
  SsdTiles tiles;
  int parts_of_group, part_tiles;
};

// Sums over the eight lanes that share columns: v[2 n + e] is of column 8 n + 2·(lane % 4) + e. Afterwards v[0] and
// v[1] are of columns 8·(lane / 4) + 2·(lane % 4) and the next.
template <int HALF = 8>
__device__ inline void sum_columns(float (&v)[16]) {
  constexpr int kLane = 2 * HALF;  // each step halves what a lane keeps, and gives the rest to the lane so far away
  const bool upper = (threadIdx.x & kLane) != 0;
#pragma unroll
  for (int i = 0; i < HALF; ++i) {
    const float kept = upper ? v[HALF + i] : v[i], given = upper ? v[i] : v[HALF + i];
    v[i] = kept + __shfl_xor_sync(0xffffffffu, given, kLane);
  }
  if constexpr (HALF > 2) sum_columns<HALF / 2>(v);
}
// Over the four lanes that share a row.
__device__ inline float sum_row(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

template <int STATE>
class BackwardBlock {
 public:
  using Space = BackwardSpace<STATE>;
  static constexpr int kStages = Space::kStages, kBlocks = Space::kBlocks;

  __device__ BackwardBlock(const CUtensorMap& x, const CUtensorMap& dy, const CUtensorMap& bc, const Ssd<bf16>& a,
                           const BackwardIo& io, Space& space)
      : x_(x), dy_(dy), bc_(bc), a_(a), io_(io), space_(space), thread_(static_cast<int>(threadIdx.x) % kGroupThreads) {
    chunks_ = (a.rows + kTile - 1) / kTile;
    const auto block = static_cast<int>(blockIdx.x);
    part_ = block % io.parts_of_group;
    group_ = block / io.parts_of_group % a.groups;
    const int rest = block / io.parts_of_group / a.groups;
    chunk_ = rest % static_cast<int>(chunks_);
    local_ = rest / static_cast<int>(chunks_);
    cell_ = a.first + local_;
    first_ = part_ * io.part_tiles;
    count_ = min(io.part_tiles, io.tiles.of_group - first_);
    t0_ = std::int64_t{chunk_} * kTile;
  }

  __device__ void run() {
    if (threadIdx.x == 0) {
      barrier_init(&space_.once, 1);
#pragma unroll
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&space_.full[i], 2);
        barrier_init(&space_.summed[i], 8);
        barrier_init(&space_.empty[i], 9);
      }
      barriers_are_made();
    }
    __syncthreads();
    wait_for_previous();
    used_ = a_.used(cell_);
    held_ = static_cast<int>(min(std::int64_t{kTile}, a_.rows - t0_));
    real_ = static_cast<int>(min(std::int64_t{kTile}, used_ - t0_));
    if (real_ <= 0) return clear();
    const int which = static_cast<int>(threadIdx.x) / kGroupThreads;
    if (which == 2) {
      shrink_registers<40>();
      const int warp = thread_ / 32;
      if (warp == 0) fetch();
      if (warp == 1) make_steps();
      if (warp == 2) finish();
    } else {
      grow_registers<232>();
      barrier_wait(&space_.once, 0);
      if (real_ < kTile) {
#pragma unroll
        for (int i = 0; i < kBlocks; ++i) clear_rows(space_.b[i], space_.c[i]);
      }
      if (which == 0) {
        by_keys();
      } else {
        by_states();
      }
    }
  }

 private:
  __device__ SsdTile tile(int i) const {
    return ssd_tile(a_, io_.tiles, group_, first_ + i);
  }
  __device__ std::int64_t sum_place(int head) const {
    return (cell_ * chunks_ + chunk_) * a_.heads + head;
  }
  __device__ bf16* gradient_row(int row) const {
    return io_.dxbc + (cell_ * a_.rows + t0_ + row) * a_.columns;
  }

  // A chunk of padding.
  __device__ void clear() {
    const int head = tile(0).head, heads = tile(count_ - 1).head - head + 1;
    for (int i = static_cast<int>(threadIdx.x); i < held_ * heads * a_.width / 8; i += kThreads) {
      const int row = i / (heads * a_.width / 8), piece = i % (heads * a_.width / 8);
      *reinterpret_cast<uint4*>(gradient_row(row) + a_.x_column(head) + piece * 8) = {};
    }
    for (int i = static_cast<int>(threadIdx.x); i < heads; i += kThreads) {
      for (int row = 0; row < held_; ++row) io_.ddt[a_.dt_place(cell_, t0_ + row, head + i)] = 0;
      if (io_.a_log != nullptr) io_.a_log[sum_place(head + i)] = 0;
      if (io_.d != nullptr) io_.d[sum_place(head + i)] = 0;
      if (io_.dt_bias != nullptr) io_.dt_bias[sum_place(head + i)] = 0;
    }
  }

  // Zeros instead of padding in two tiles; by both warp groups.
  __device__ void clear_rows(unsigned char* a, unsigned char* b) {
    for (int i = static_cast<int>(threadIdx.x); i < (kTile - real_) * 8; i += 2 * kGroupThreads) {
      const std::uint32_t at = tile_byte(real_ + i / 8, i % 8);
      *reinterpret_cast<uint4*>(a + at) = {};
      *reinterpret_cast<uint4*>(b + at) = {};
    }
    written_for_products();
    named_barrier(3, 2 * kGroupThreads);
  }

  __device__ void fetch() {
    if (threadIdx.x % 32 != 0) return;
    const int t = static_cast<int>(t0_), z = static_cast<int>(cell_);
    barrier_arrive(&space_.once, 2 * kBlocks * kTileBytes);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      copy_tile(space_.b[i], bc_, i * kTile, group_, t, z, &space_.once);
      copy_tile(space_.c[i], bc_, i * kTile, a_.groups + group_, t, z, &space_.once);
    }
    for (int turn = 0; turn < count_; ++turn) {
      const int stage = free_stage(turn);
      auto& to = space_.stage[stage];
      std::uint64_t* const full = &space_.full[stage];
      const SsdTile of = tile(turn);
      const std::int64_t image =
          (((local_ * a_.groups + group_) * io_.tiles.of_group + first_ + turn) * chunks_ + chunk_) * (STATE * 128);
      barrier_arrive(full, 2 * (1 + kBlocks) * kTileBytes);
      copy_tile(to.x, x_, of.column, of.head, t, z, full);
      copy_tile(to.dy, dy_, of.column, of.head, t, z, full);
      copy_bytes(to.ds, io_.ends + image, STATE * 128, full);
      copy_bytes(to.s, io_.starts + image, STATE * 128, full);
    }
  }
  __device__ int free_stage(int turn) {
    if (turn >= kStages) barrier_wait(&space_.empty[turn % kStages], turn / kStages - 1 & 1);
    return turn % kStages;
  }
  __device__ void make_steps() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    SsdStepInputs next = ssd_step_inputs(a_, cell_, tile(0).head, chunk_, used_);
    for (int turn = 0; turn < count_; ++turn) {
      const SsdStepInputs in = next;
      if (turn + 1 < count_) next = ssd_step_inputs(a_, cell_, tile(turn + 1).head, chunk_, used_);
      const SsdSteps steps = ssd_steps(in, a_.least, a_.most);
      BackwardRows& to = space_.rows[free_stage(turn)];
      const auto write = [&](float* rows, float2 v) { *reinterpret_cast<float2*>(rows + 2 * lane) = v; };
      write(to.l, steps.l);
      write(to.delta, steps.delta);
      write(to.slope, steps.slope);
      write(to.grown, steps.grown);
      write(to.left, steps.left);
      if (lane == 0) to.whole = steps.whole;
      __syncwarp();
      if (lane == 0) barrier_arrive(&space_.full[turn % kStages]);
    }
  }

  // By one warp: dα and what follows from it. A head's tiles come one after another.
  __device__ void finish() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    float2 change{}, key{}, dot{};
    float carried = 0, skip = 0;
    for (int turn = 0; turn < count_; ++turn) {
      const int stage = turn % kStages, head = tile(turn).head;
      const BackwardRows& rows = space_.rows[stage];
      barrier_wait(&space_.summed[stage], turn / kStages & 1);
      const auto read = [&](const float* from) { return *reinterpret_cast<const float2*>(from + 2 * lane); };
      const auto add = [](float2& to, float2 v, float sign) {
        to.x += sign * v.x;
        to.y += sign * v.y;
      };
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        add(change, read(rows.crossed[i]), 1);
        carried += rows.whole * rows.carried[i];
        skip += rows.skip[i];
      }
      add(change, read(rows.crossing), -1);
      add(change, read(rows.off), 1);
      add(key, read(rows.key), 1);
      add(dot, read(rows.dot), 1);
      const float2 delta = read(rows.delta), slope = read(rows.slope);
      __syncwarp();
      if (lane == 0) barrier_arrive(&space_.empty[stage]);
      if (turn + 1 < count_ && tile(turn + 1).head == head) continue;

      float after = change.x + change.y, before = key.x + key.y;
      const float own = before;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const float later = __shfl_down_sync(0xffffffffu, after, offset);
        const float earlier = __shfl_up_sync(0xffffffffu, before, offset);
        if (lane + offset < 32) after += later;
        if (lane >= offset) before += earlier;
      }
      const std::int64_t weight = std::int64_t{a_.layer(cell_)} * a_.heads + head;
      const float rate = -expf(a_.a_log[weight]), first = carried + before - own;
      const float2 dalpha{after + first, after - change.x + first + key.x};
      const float2 of_dt{(rate * dalpha.x + dot.x) * slope.x, (rate * dalpha.y + dot.y) * slope.y};
      const int row = 2 * lane;
      float* const to = io_.ddt + a_.dt_place(cell_, t0_ + row, head);
      if (row < held_) to[0] = row < real_ ? of_dt.x : 0.0f;
      if (row + 1 < held_) to[a_.heads] = row + 1 < real_ ? of_dt.y : 0.0f;
      const float of_a_log = warp_sum(rate * (delta.x * dalpha.x + delta.y * dalpha.y));
      const float of_bias = warp_sum(of_dt.x + of_dt.y);
      if (lane == 0) {
        if (io_.a_log != nullptr) io_.a_log[sum_place(head)] = of_a_log;
        if (io_.d != nullptr) io_.d[sum_place(head)] = skip;
        if (io_.dt_bias != nullptr) io_.dt_bias[sum_place(head)] = of_bias;
      }
      change = key = dot = {};
      carried = skip = 0;
    }
  }

  __device__ void by_keys();
  __device__ void by_states();
  __device__ int lane() const {
    return thread_ % 32;
  }
  __device__ int warp() const {
    return thread_ / 32;
  }

  const CUtensorMap &x_, &dy_, &bc_;
  const Ssd<bf16>& a_;
  const BackwardIo& io_;
  Space& space_;
  int thread_, part_, group_, chunk_, first_, count_;
  std::int64_t chunks_, local_, cell_, t0_, used_ = 0;
  int held_ = 0, real_ = 0;  // rows of the chunk, and those in use
};

// 16 rows of a tile as parts of A, or as D has them: four blocks of 16 columns.
__device__ inline void load_rows(std::uint32_t tile, int warp, std::uint32_t (&to)[16]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) load_matrices(block_address(tile, warp * 16, k * 16), to + 4 * k);
}
// Those rows times a factor each: `low` for the lane's upper row, `high` for the one eight below.
__device__ inline void scale_rows(std::uint32_t (&v)[16], float low, float high) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const float2 pair = unpack_pair(v[i]);
    const float factor = i % 2 == 0 ? low : high;
    v[i] = pack_pair(pair.x * factor, pair.y * factor);
  }
}

template <int STATE>
__device__ void BackwardBlock<STATE>::by_keys() {
  const int row = warp() * 16 + lane() / 4, pair = lane() % 4 * 2;  // of the thread's accumulators
  const Operand b = tile_along(shared_address(space_.b)), c = tile_along(shared_address(space_.c));
  float gram[32], dgram[32] = {};
  hold(gram);
  products_begin();
#pragma unroll
  for (int k = 0; k < STATE / 16; ++k) wgmma<false, false>(gram, b + column_byte(k), c + column_byte(k), k > 0);
  products_end();
  wait_for_products<0>();
  hold(gram);

  for (int turn = 0; turn < count_; ++turn) {
    const int stage = turn % kStages;
    auto& from = space_.stage[stage];
    BackwardRows& rows = space_.rows[stage];
    const SsdTile of = tile(turn);
    barrier_wait(&space_.full[stage], turn / kStages & 1);
    if (real_ < kTile) clear_rows(from.x, from.dy);
    const std::uint32_t x = shared_address(from.x), dy = shared_address(from.dy);
    const Operand x_along = tile_along(x), dy_along = tile_along(dy), ds = tile_along(shared_address(from.ds));
    float d[32], dx[32];
    hold(d);
    hold(dx);
    products_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma<false, false>(d, x_along + column_byte(k), dy_along + column_byte(k), k > 0);
    products_end();
#pragma unroll
    for (int k = 0; k < STATE / 16; ++k) wgmma<false, false>(dx, b + column_byte(k), ds + column_byte(k), k > 0);
    products_end();
    std::uint32_t keys[16];
    load_rows(x, warp(), keys);
    wait_for_products<1>();
    hold(d);

    // Element (j, i): here j is a row. Columns before a warp's first row are zero.
    const float2 l{rows.l[row], rows.l[row + 8]}, delta{rows.delta[row], rows.delta[row + 8]};
    const float2 left{rows.left[row], rows.left[row + 8]};
    std::uint32_t m[16];
    float crossed[16], crossing_low = 0, crossing_high = 0, skip = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int column = n * 8 + pair;
      float value[4] = {}, passed[4] = {};
      if (n / 2 >= warp()) {
        const float2 to = *reinterpret_cast<const float2*>(rows.l + column);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int j = row + e / 2 * 8, i = column + e % 2;
          const float decay =
              i < j ? 0.0f : power_of_two(fminf((e % 2 == 0 ? to.x : to.y) - (e < 2 ? l.x : l.y), 0.0f));
          const float product = d[4 * n + e], grown = product * (decay * (e < 2 ? delta.x : delta.y));
          dgram[4 * n + e] += grown;
          value[e] = gram[4 * n + e] * decay;
          passed[e] = i == j ? 0.0f : grown * gram[4 * n + e];
          if (i == j) skip += product;
        }
      }
      m[2 * n] = pack_pair(value[0], value[1]);
      m[2 * n + 1] = pack_pair(value[2], value[3]);
      crossing_low += passed[0] + passed[1];
      crossing_high += passed[2] + passed[3];
      crossed[2 * n] = passed[0] + passed[2];
      crossed[2 * n + 1] = passed[1] + passed[3];
    }
    sum_columns(crossed);
    *reinterpret_cast<float2*>(rows.crossed[warp()] + lane() / 4 * 8 + pair) = {crossed[0], crossed[1]};
    crossing_low = sum_row(crossing_low);
    crossing_high = sum_row(crossing_high);
    skip = warp_sum(skip);

    wait_for_products<0>();
    hold(dx);
    float key_low = 0, key_high = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 low = unpack_pair(keys[2 * n]), high = unpack_pair(keys[2 * n + 1]);
      dx[4 * n] *= left.x;
      dx[4 * n + 1] *= left.x;
      dx[4 * n + 2] *= left.y;
      dx[4 * n + 3] *= left.y;
      key_low += low.x * dx[4 * n] + low.y * dx[4 * n + 1];
      key_high += high.x * dx[4 * n + 2] + high.y * dx[4 * n + 3];
    }
    hold(dx);
    products_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma<true>(dx, m + 4 * k, tile_across(dy) + k * 16 * 128);
    products_end();
    key_low = sum_row(key_low);
    key_high = sum_row(key_high);
    std::uint32_t queries[16];
    load_rows(dy, warp(), queries);
    const float direct = a_.d[std::int64_t{a_.layer(cell_)} * a_.heads + of.head];
    wait_for_products<0>();
    hold(dx);
    hold(m);
    float dot_low = 0, dot_high = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 low = unpack_pair(keys[2 * n]), high = unpack_pair(keys[2 * n + 1]);
      const float2 low_dy = unpack_pair(queries[2 * n]), high_dy = unpack_pair(queries[2 * n + 1]);
      dot_low += low.x * dx[4 * n] + low.y * dx[4 * n + 1];
      dot_high += high.x * dx[4 * n + 2] + high.y * dx[4 * n + 3];
      keys[2 * n] = pack_pair(delta.x * dx[4 * n] + direct * low_dy.x, delta.x * dx[4 * n + 1] + direct * low_dy.y);
      keys[2 * n + 1] =
          pack_pair(delta.y * dx[4 * n + 2] + direct * high_dy.x, delta.y * dx[4 * n + 3] + direct * high_dy.y);
    }
    dot_low = sum_row(dot_low);
    dot_high = sum_row(dot_high);
    if (lane() % 4 == 0) {
      rows.crossing[row] = crossing_low;
      rows.crossing[row + 8] = crossing_high;
      rows.key[row] = delta.x * key_low;
      rows.key[row + 8] = delta.y * key_high;
      rows.dot[row] = dot_low;
      rows.dot[row + 8] = dot_high;
    }
    if (lane() == 0) rows.skip[warp()] = skip;
    __syncwarp();
    if (lane() == 0) {
      barrier_arrive(&space_.summed[stage]);
      barrier_arrive(&space_.empty[stage]);
    }
    // A warp's rows go out by itself.
    const std::uint32_t out = shared_address(space_.out);
#pragma unroll
    for (int k = 0; k < 4; ++k) store_matrices(block_address(out, warp() * 16, k * 16), keys + 4 * k);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = warp() * 16 + i * 4 + lane() / 8, piece = lane() % 8, column = of.column + piece * 8;
      uint4 value = *reinterpret_cast<const uint4*>(space_.out + tile_byte(r, piece));
      if (r >= real_) value = {};
      if (r < held_ && column < a_.width) {
        *reinterpret_cast<uint4*>(gradient_row(r) + a_.x_column(of.head) + column) = value;
      }
    }
    __syncwarp();
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    std::uint32_t part[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) part[i] = pack_pair(dgram[8 * k + 2 * i], dgram[8 * k + 2 * i + 1]);
    store_matrices(block_address(shared_address(space_.dgram), warp() * 16, k * 16), part);
  }
  written_for_products();
  named_barrier(3, 2 * kGroupThreads);
}

template <int STATE>
__device__ void BackwardBlock<STATE>::by_states() {
  const int row = warp() * 16 + lane() / 4;
  const std::uint32_t b = shared_address(space_.b), c = shared_address(space_.c);
  const Operand c_along = tile_along(c);
  StateTile<STATE> db, dc;
  db.clear();
  dc.clear();
  for (int turn = 0; turn < count_; ++turn) {
    const int stage = turn % kStages;
    auto& from = space_.stage[stage];
    BackwardRows& rows = space_.rows[stage];
    barrier_wait(&space_.full[stage], turn / kStages & 1);
    if (real_ < kTile) clear_rows(from.x, from.dy);
    const std::uint32_t s = shared_address(from.s), ds = shared_address(from.ds);
    std::uint32_t keys[16], queries[16];
    load_rows(shared_address(from.x), warp(), keys);
    load_rows(shared_address(from.dy), warp(), queries);
    scale_rows(keys, rows.left[row] * rows.delta[row], rows.left[row + 8] * rows.delta[row + 8]);
    scale_rows(queries, rows.grown[row], rows.grown[row + 8]);
    float y[32];
    hold(y);
    db.hold();
    dc.hold();
    products_begin();
#pragma unroll
    for (int k = 0; k < STATE / 16; ++k) {
      wgmma<false, false>(y, c_along + column_byte(k), tile_along(s) + column_byte(k), k > 0);
    }
    products_end();
#pragma unroll
    for (int k = 0; k < 4; ++k) dc.add_product(queries + 4 * k, tile_across(s) + k * 16 * 128);
#pragma unroll
    for (int k = 0; k < 4; ++k) db.add_product(keys + 4 * k, tile_across(ds) + k * 16 * 128);
    products_end();
    float carried = 0;
#pragma unroll 4
    for (int i = thread_; i < STATE * 8; i += kGroupThreads) {
      const uint4 v = reinterpret_cast<const uint4*>(from.s)[i], g = reinterpret_cast<const uint4*>(from.ds)[i];
      const auto add = [&](std::uint32_t p, std::uint32_t q) {
        const float2 left = unpack_pair(p), right = unpack_pair(q);
        carried += left.x * right.x + left.y * right.y;
      };
      add(v.x, g.x);
      add(v.y, g.y);
      add(v.z, g.z);
      add(v.w, g.w);
    }
    carried = warp_sum(carried);
    wait_for_products<1>();
    hold(y);
    float low = 0, high = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 of_low = unpack_pair(queries[2 * n]), of_high = unpack_pair(queries[2 * n + 1]);
      low += of_low.x * y[4 * n] + of_low.y * y[4 * n + 1];
      high += of_high.x * y[4 * n + 2] + of_high.y * y[4 * n + 3];
    }
    low = sum_row(low);
    high = sum_row(high);
    if (lane() % 4 == 0) {
      rows.off[row] = low;
      rows.off[row + 8] = high;
    }
    if (lane() == 0) rows.carried[warp()] = carried;
    __syncwarp();
    if (lane() == 0) barrier_arrive(&space_.summed[stage]);
    wait_for_products<0>();
    db.hold();
    dc.hold();
    hold(keys);
    hold(queries);
    __syncwarp();
    if (lane() == 0) barrier_arrive(&space_.empty[stage]);
  }
  // dG, as keys by queries, is there.
  named_barrier(3, 2 * kGroupThreads);
  const std::uint32_t dgram = shared_address(space_.dgram);
  db.hold();
  dc.hold();
  products_begin();
#pragma unroll
  for (int k = 0; k < 4; ++k)
    db.template add_product<false>(tile_along(dgram) + column_byte(k), tile_across(c) + k * 16 * 128);
#pragma unroll
  for (int k = 0; k < 4; ++k)
    dc.template add_product<true>(tile_across(dgram) + k * 16 * 128, tile_across(b) + k * 16 * 128);
  products_end();
  wait_for_products<0>();
  db.hold();
  dc.hold();
  float* const to = io_.parts + (((local_ * chunks_ + chunk_) * a_.groups + group_) * io_.parts_of_group + part_) *
                                    (2 * kTile * STATE);
  const auto write = [&](StateTile<STATE>& from, float* part) {
    from.each_pair([&](float& even, float& odd, int r, int column) {
      *reinterpret_cast<float2*>(part + r * STATE + column) = {even, odd};
    });
  };
  write(db, to);
  write(dc, to + kTile * STATE);
}

template <int STATE>
__global__ void __launch_bounds__(kThreads, 1)
    ssd_backward_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap dy,
                        const __grid_constant__ CUtensorMap bc, const __grid_constant__ Ssd<bf16> a,
                        const __grid_constant__ BackwardIo io) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char raw[];
  auto& space = *reinterpret_cast<BackwardSpace<STATE>*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
  BackwardBlock<STATE>(x, dy, bc, a, io, space).run();
#endif
}

// db and dc: the parts' sums, in order. Four columns a thread; a block has a few rows of one of them, of one chunk and
// group.
constexpr int kSumThreads = 256, kSumRows = 8;
__global__ void __launch_bounds__(kSumThreads)
    add_parts_kernel(Ssd<bf16> a, const float* parts, int count, int width, bf16* dxbc) {
  const auto chunks = static_cast<int>((a.rows + kTile - 1) / kTile), block = static_cast<int>(blockIdx.x);
  const int group = block % a.groups, chunk = block / a.groups % chunks, local = block / a.groups / chunks;
  const std::int64_t cell = a.first + local, used = a.used(cell);
  const int pieces = a.state / 4, which = static_cast<int>(blockIdx.y) % 2;
  const int first = static_cast<int>(blockIdx.y) / 2 * kSumRows;
  parts += std::int64_t{block} * count * 2 * kTile * width;
  for (int i = static_cast<int>(threadIdx.x); i < kSumRows * pieces; i += kSumThreads) {
    const int row = first + i / pieces, column = i % pieces * 4;
    const std::int64_t t = std::int64_t{chunk} * kTile + row;
    if (t >= a.rows) continue;
    float sum[4] = {};
#pragma unroll 4
    for (int k = 0; k < count; ++k) {
      float some[4] = {};
      if (t < used) load<4>(parts + ((std::int64_t{k} * 2 + which) * kTile + row) * width + column, some);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] += some[e];
    }
    bf16* const to = dxbc + (cell * a.rows + t) * a.columns + (which == 0 ? a.b_column(group) : a.c_column(group));
    store<4>(to + column, sum);
  }
}

}  // namespace

bool tensor_ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                         const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                         const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                         const Tensor& ds) {
  // Twice the state in one warp group's registers.
  if (shape.state > 128 || !tensor_ssd_fits(stream, shape, xbc, {&dy, &xbc, &s, &ds_out, &dxbc, &ds})) return false;
  const char* op = "ssd backward";
  Ssd<bf16> a = ssd_arguments<bf16>(xbc, dt, weights, shape, cells);
  const std::int64_t all = a.cells, chunks = ceil_div(a.rows, kTile);
  const SsdMaps maps{x_map(a), bc_map(a), tile_map(data<bf16>(dy), {a.width, a.heads, shape.inner(), a.rows, a.cells})};
  const ChunkSums sums(stream, dweights, xbc.dim(0), xbc.dim(1) * chunks, shape.heads);
  BackwardIo io{};
  io.dxbc = data<bf16>(dxbc);
  io.ddt = data<float>(ddt);
  io.a_log = sums.a_log();
  io.d = sums.d();
  io.dt_bias = sums.dt_bias();
  io.tiles = ssd_tiles(shape);
  io.part_tiles = std::max(1, kPartTiles / io.tiles.of_head) * io.tiles.of_head;
  io.parts_of_group = static_cast<int>(ceil_div(io.tiles.of_group, io.part_tiles));
  dispatch_state(shape.state, [&]<int STATE>() {
    if constexpr (STATE <= 128) {
      const std::int64_t image = a.groups * io.tiles.of_group * chunks * STATE * 64;  // elements, of a cell
      const std::int64_t portion = std::clamp<std::int64_t>(kImageBytes / (4 * image), 1, all);
      const SsdImages images{Tensor::empty(stream, {portion, image}, DType::kBF16),
                             Tensor::empty(stream, {portion, image}, DType::kBF16)};
      const Tensor parts =
          Tensor::empty(stream, {portion, chunks, a.groups * io.parts_of_group, 2 * kTile * STATE}, DType::kF32);
      io.starts = static_cast<const unsigned char*>(images.starts.raw());
      io.ends = static_cast<const unsigned char*>(images.ends.raw());
      io.parts = data<float>(parts);
      constexpr std::size_t kBytes = sizeof(BackwardSpace<STATE>) + 1024;
      const auto kernel = ssd_backward_kernel<STATE>;
      WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kBytes)));
      for (a.first = 0; a.first < all; a.first += portion) {
        a.cells = std::min(portion, all - a.first);
        tensor_ssd_states(op, stream, maps, a, io.tiles, s, ds_out, ds, images);
        const unsigned blocks = grid_size(a.cells * chunks * a.groups);
        launch_early(op, kernel, grid_size(std::int64_t{blocks} * io.parts_of_group), kThreads, kBytes, stream, maps.x,
                     maps.dy, maps.bc, a, io);
        add_parts_kernel<<<dim3(blocks, 2 * kTile / kSumRows), kSumThreads, 0, native(stream)>>>(
            a, io.parts, io.parts_of_group, STATE, io.dxbc);
        check_launch(op);
      }
    }
  });
  sums.add(stream);
  check_launch(op);
  return true;
}

}  // namespace wt::kernels::cuda
