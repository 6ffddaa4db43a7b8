#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/attention_decode_cuda.cuh"

// A block reads one stretch of the cache of one key/value head, once for all query rows that share it. As many blocks
// are launched as the cache's capacity may need: its length is known on the GPU only.
namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxStretches = kThreads;
// Blocks wanted: about four for each multiprocessor of a large GPU.
constexpr std::int64_t kBlocks = 512;
constexpr std::int64_t kMaxQueries = 16;
// Below any score, and finite, so that differences of two are never NaN.
constexpr float kNone = -FLT_MAX / 4;

template <class T>
struct Decode {
  Stretches s;
  const T* qkv;
  T* keys;
  T* values;
  T* out;
  float* lse;            // null: not wanted
  const float* cos_sin;  // null: nothing is turned
  int query_blocks;
  int positions;  // of cos_sin
  float scale;

  __device__ std::int64_t row_width() const { return static_cast<std::int64_t>(s.heads + 2 * s.key_heads) * s.width; }
};

// Keys that query n attends: none where its row is not in use.
__device__ int visible(const Stretches& s, const CacheRows::Place& place, int n) {
  const int row = n / s.group;
  return row < place.rows ? place.before + row + 1 : 0;
}
__device__ int head_of(const Stretches& s, int key_head, int n) {
  return key_head * s.group + n % s.group;
}
template <class T>
__device__ T* out_row(const Stretches& s, T* out, std::int64_t sample, int key_head, int n) {
  return out + ((sample * s.cache.new_rows + n / s.group) * s.heads + head_of(s, key_head, n)) * s.width;
}
__device__ float* lse_of(const Stretches& s, float* lse, std::int64_t sample, int key_head, int n) {
  return lse + (sample * s.heads + head_of(s, key_head, n)) * s.cache.new_rows + n / s.group;
}

// Columns [col, col + V) of a head turned by its position, where heads are turned; `x` holds them as they are.
template <int V, class T>
__device__ void turn(const Decode<T>& p, const T* head, int col, int position, float (&x)[V]) {
  if (p.cos_sin == nullptr) return;
  if (position >= p.positions) return report(p.s.cache.fault_word, Fault::kRotaryEntry);
  const int half = p.s.width / 2;
  const float* const angles = p.cos_sin + static_cast<std::int64_t>(position) * p.s.width;
  float partner[V];
  if (half % V == 0) {
    load<V>(head + (col < half ? col + half : col - half), partner);
  } else {
    for (int e = 0; e < V; ++e) partner[e] = to_float(head[col + e < half ? col + e + half : col + e - half]);
  }
#pragma unroll
  for (int e = 0; e < V; ++e) {
    const bool low = col + e < half;
    const int i = low ? col + e : col + e - half;
    const float sine = angles[half + i];
    x[e] = x[e] * angles[i] + (low ? -partner[e] : partner[e]) * sine;
  }
}

// As many blocks per multiprocessor as their registers allow without spilling, by the queries' elements in a lane.
constexpr int blocks_per_sm(int elements) {
  return elements <= 16 ? 4 : elements <= 32 ? 3 : 2;
}

// V elements are read at once; L lanes share a key, each with C such pieces; N queries at once. D = V·L·C columns.
template <class T, int D, int V, int N>
__global__ void __launch_bounds__(kThreads, blocks_per_sm(N*(V > D / 32 ? V : D / 32))) split_kernel(Decode<T> p) {
  constexpr int L = D / V < 32 ? D / V : 32, C = D / V / L, E = V * C;
  constexpr int kParts = 32 / L;                             // keys that a warp reads at once
  constexpr int kUnroll = C >= 4 ? 1 : (N > 4 ? 2 : 4) / C;  // times that before it uses them
  constexpr int kStride = kWarps * kParts;
  __shared__ float block_acc[kWarps][N][D];
  __shared__ float block_top[kWarps][N], block_sum[kWarps][N];

  let_next_begin();
  wait_for_previous();
  const Stretches& s = p.s;
  std::int64_t task = blockIdx.x;
  const int stretch = static_cast<int>(task % s.count);
  task /= s.count;
  const int query = static_cast<int>(task % p.query_blocks) * N;
  const bool writes = task % p.query_blocks == 0;
  const std::int64_t pair = task / p.query_blocks, sample = pair / s.key_heads;
  const int key_head = static_cast<int>(pair % s.key_heads);
  const CacheRows::Place place = s.cache.of(sample);
  const int before = place.before, end = place.end();
  const int chunk = s.chunk(place), begin = stretch * chunk, stop = min(begin + chunk, end);
  if (stretch > 0 && begin >= end) return;  // the first says of rows that are not in use that they are zero

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, owner = lane % L, part = lane / L;
  float q[N][E], acc[N][E] = {}, top[N], sum[N] = {};
  int seen[N];
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const bool there = query + n < s.queries;
    const int row = there ? (query + n) / s.group : 0, head = head_of(s, key_head, query + n);
    const T* from =
        p.qkv + (sample * s.cache.new_rows + row) * p.row_width() + static_cast<std::int64_t>(head) * s.width;
    seen[n] = there ? visible(s, place, query + n) : 0;
    top[n] = kNone;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int col = (c * L + owner) * V;
      float v[V] = {};
      if (seen[n] > 0 && col < s.width) {
        load<V>(from + col, v);
        turn<V>(p, from, col, before + row, v);
      }
#pragma unroll
      for (int e = 0; e < V; ++e) q[n][c * V + e] = v[e] * p.scale;
    }
  }

  const std::int64_t cache_at =
      ((sample * s.cache.capacity + place.origin) * s.key_heads + key_head) * static_cast<std::int64_t>(s.width);
  const std::int64_t fresh_at =
      sample * s.cache.new_rows * p.row_width() + static_cast<std::int64_t>(s.heads + key_head) * s.width;
  for (int first = begin + warp * kParts; first < stop; first += kStride * kUnroll) {
    Vec<T, V> k[kUnroll][C] = {}, v[kUnroll][C] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int key = first + u * kStride + part;
      if (key >= stop) continue;
      const std::int64_t at = cache_at + static_cast<std::int64_t>(key) * (s.key_heads * s.width);
      const T *key_row = p.keys + at, *value_row = p.values + at;
      const bool fresh = key >= before;  // a row of this call: taken from there, and put into the cache
      if (fresh) {
        key_row = p.qkv + fresh_at + (key - before) * p.row_width();
        value_row = key_row + static_cast<std::int64_t>(s.key_heads) * s.width;
      }
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const int col = (c * L + owner) * V;
        if (col >= s.width) continue;
        k[u][c] = *reinterpret_cast<const Vec<T, V>*>(key_row + col);
        v[u][c] = *reinterpret_cast<const Vec<T, V>*>(value_row + col);
        if (fresh && p.cos_sin != nullptr) {
          float turned[V];
#pragma unroll
          for (int e = 0; e < V; ++e) turned[e] = to_float(k[u][c].v[e]);
          turn<V>(p, key_row, col, key, turned);
#pragma unroll
          for (int e = 0; e < V; ++e) k[u][c].v[e] = from_float<T>(turned[e]);
        }
        if (fresh && writes) {
          *reinterpret_cast<Vec<T, V>*>(p.keys + at + col) = k[u][c];
          *reinterpret_cast<Vec<T, V>*>(p.values + at + col) = v[u][c];
        }
      }
    }
    float score[kUnroll][N] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int e = 0; e < E; ++e) {
        const float x = to_float(k[u][e / V].v[e % V]);
#pragma unroll
        for (int n = 0; n < N; ++n) score[u][n] += q[n][e] * x;
      }
      const int key = first + u * kStride + part;
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int offset = L / 2; offset > 0; offset /= 2)
          score[u][n] += __shfl_xor_sync(0xffffffffu, score[u][n], offset);
        if (key >= stop || key >= seen[n]) score[u][n] = -INFINITY;
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float largest = top[n];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) largest = fmaxf(largest, score[u][n]);
      const float factor = expf(top[n] - largest);
      top[n] = largest;
      sum[n] *= factor;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        score[u][n] = expf(score[u][n] - largest);
        sum[n] += score[u][n];
      }
#pragma unroll
      for (int e = 0; e < E; ++e) {
        acc[n][e] *= factor;
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) acc[n][e] += score[u][n] * to_float(v[u][e / V].v[e % V]);
      }
    }
  }

  // The parts of a warp, then the warps, in fixed order.
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int offset = L; offset < 32; offset *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, top[n], offset), largest = fmaxf(top[n], other);
      const float mine = expf(top[n] - largest), theirs = expf(other - largest);
      top[n] = largest;
      sum[n] = sum[n] * mine + __shfl_xor_sync(0xffffffffu, sum[n], offset) * theirs;
#pragma unroll
      for (int e = 0; e < E; ++e) {
        acc[n][e] = acc[n][e] * mine + __shfl_xor_sync(0xffffffffu, acc[n][e], offset) * theirs;
      }
    }
    if (part == 0) {
#pragma unroll
      for (int e = 0; e < E; ++e) block_acc[warp][n][(e / V * L + owner) * V + e % V] = acc[n][e];
    }
    if (lane == 0) {
      block_top[warp][n] = top[n];
      block_sum[warp][n] = sum[n];
    }
  }
  __syncthreads();
  for (int at = threadIdx.x; at < N * D; at += kThreads) {
    const int n = at / D, col = at % D;
    if (query + n >= s.queries || col >= s.width) continue;
    float largest = block_top[0][n], total = 0, value = 0;
#pragma unroll
    for (int w = 1; w < kWarps; ++w) largest = fmaxf(largest, block_top[w][n]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = expf(block_top[w][n] - largest);
      total += block_sum[w][n] * factor;
      value += block_acc[w][n][col] * factor;
    }
    if (s.count == 1) {
      const bool used = visible(s, place, query + n) > 0;
      out_row(s, p.out, sample, key_head, query + n)[col] = from_float<T>(used ? value / total : 0);
      if (used && col == 0 && p.lse != nullptr) *lse_of(s, p.lse, sample, key_head, query + n) = largest + logf(total);
      continue;
    }
    const std::int64_t slot = s.slot(pair, query + n, stretch);
    s.partial[slot * s.width + col] = value;
    if (col == 0) s.sums[slot] = {largest, total};
  }
}

// A block per query row.
template <class T>
__global__ void __launch_bounds__(kThreads) combine_kernel(Stretches s, T* out, float* lse) {
  __shared__ float weights[kMaxStretches], scratch[2][kWarps];
  let_next_begin();
  wait_for_previous();
  const std::int64_t task = blockIdx.x, pair = task / s.queries, sample = pair / s.key_heads;
  const int n = static_cast<int>(task % s.queries), key_head = static_cast<int>(pair % s.key_heads);
  const CacheRows::Place place = s.cache.of(sample);
  T* to = out_row(s, out, sample, key_head, n);
  if (visible(s, place, n) == 0) {
    for (int col = threadIdx.x; col < s.width; col += kThreads) to[col] = from_float<T>(0);
    return;
  }
  // Stretches past the last key that this query attends were not written, or hold nothing for it.
  const int chunk = s.chunk(place), used = (visible(s, place, n) + chunk - 1) / chunk;
  const int stretch = threadIdx.x;
  const float2 mine = stretch < used ? s.sums[s.slot(pair, n, stretch)] : float2{kNone, 0};
  const float top = block_max<kThreads>(mine.x, scratch[0]);
  const float weight = expf(mine.x - top);
  const float total = block_sum<kThreads>(mine.y * weight, scratch[1]);
  weights[stretch] = weight;
  if (stretch == 0 && lse != nullptr) *lse_of(s, lse, sample, key_head, n) = top + logf(total);
  __syncthreads();
  for (int col = threadIdx.x; col < s.width; col += kThreads) {
    const float* from = s.partial + s.slot(pair, n, 0) * s.width + col;
    float value = 0;
#pragma unroll 8
    for (int i = 0; i < used; ++i) value += weights[i] * from[static_cast<std::int64_t>(i) * s.width];
    to[col] = from_float<T>(value / total);
  }
}

template <class T, int D, int V, int N>
void launch_split(const Stream& stream, const Decode<T>& p, std::int64_t blocks) {
  launch_early("attention of few rows", split_kernel<T, D, V, N>, grid_size(blocks), kThreads, 0, stream, p);
}

// Queries at once: as few of these as hold them all, or eight. Odd widths, read by single elements, do with one size.
int queries_at_once(std::int64_t queries, bool vectors) {
  if (!vectors || (queries > 1 && queries <= 4)) return 4;
  return queries == 1 ? 1 : 8;
}

template <class T, int D>
void launch_width(const Stream& stream, const Decode<T>& p, std::int64_t blocks, bool vectors) {
  const int at_once = queries_at_once(p.s.queries, vectors);
  if (!vectors) {
    launch_split<T, D, 1, 4>(stream, p, blocks);
  } else if (at_once == 1) {
    launch_split<T, D, kVec<T>, 1>(stream, p, blocks);
  } else if (at_once == 4) {
    launch_split<T, D, kVec<T>, 4>(stream, p, blocks);
  } else {
    launch_split<T, D, kVec<T>, 8>(stream, p, blocks);
  }
}

}  // namespace

bool decode_attends(const AttentionHeads& heads, std::int64_t rows) {
  return rows == 1 || rows * (heads.query / heads.key_value) <= kMaxQueries;
}

StretchMemory make_stretches(const Stream& stream, const AttentionHeads& heads, const CacheRows& rows,
                             std::int64_t samples, std::int64_t readers) {
  const std::int64_t most = std::min(ceil_div(kBlocks, readers), static_cast<std::int64_t>(kMaxStretches));
  const std::int64_t count = std::min(most, ceil_div(rows.capacity, Stretches::kKeys));
  StretchMemory memory;
  Stretches& s = memory.stretches;
  s.cache = rows;
  s.most = static_cast<int>(most);
  s.count = static_cast<int>(count);
  s.heads = static_cast<int>(heads.query);
  s.key_heads = static_cast<int>(heads.key_value);
  s.group = s.heads / s.key_heads;
  s.width = static_cast<int>(heads.width);
  s.queries = rows.new_rows * s.group;
  if (count > 1) {
    const std::int64_t slots = samples * s.key_heads * s.queries * count;
    memory.partial = Tensor::empty(stream, {slots, heads.width}, DType::kF32);
    memory.sums = Tensor::empty(stream, {slots, 2}, DType::kF32);
    s.partial = data<float>(memory.partial);
    s.sums = reinterpret_cast<float2*>(data<float>(memory.sums));
  }
  return memory;
}

void combine_stretches(const char* op, const Stream& stream, const Stretches& stretches, std::int64_t samples,
                       const Tensor& out, const Tensor& lse) {
  const unsigned blocks = grid_size(samples * stretches.key_heads * stretches.queries);
  dispatch_float(op, out.dtype(), [&]<class T>() {
    launch_early(op, combine_kernel<T>, blocks, kThreads, 0, stream, stretches, data<T>(out),
                 lse.defined() ? data<float>(lse) : nullptr);
  });
}

void decode_attention(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                      const CacheRows& rows, const Tensor& keys, const Tensor& values, const Tensor& out,
                      const Tensor& lse, const Tensor& cos_sin) {
  const std::int64_t t = rows.new_rows, samples = qkv.numel() / (t * heads.row_width());
  const std::int64_t k = heads.width, j = heads.key_value;
  WT_CHECK(k <= 256, op, ": heads are ", k, " wide, at most 256 on CUDA");
  dispatch_float(op, qkv.dtype(), [&]<class T>() {
    bool vectors = k % kVec<T> == 0;
    for (const Tensor* tensor : {&qkv, &keys, &values}) {
      vectors = vectors && reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 == 0;
    }
    const std::int64_t queries = t * (heads.query / j),
                       query_blocks = ceil_div(queries, queries_at_once(queries, vectors));
    const std::int64_t readers = samples * j * query_blocks;
    const StretchMemory memory = make_stretches(stream, heads, rows, samples, readers);
    Decode<T> p{};
    p.s = memory.stretches;
    p.qkv = data<T>(qkv);
    p.keys = data<T>(keys);
    p.values = data<T>(values);
    p.out = data<T>(out);
    p.lse = lse.defined() ? data<float>(lse) : nullptr;
    p.cos_sin = cos_sin.defined() ? data<float>(cos_sin) : nullptr;
    p.positions = cos_sin.defined() ? static_cast<int>(std::min<std::int64_t>(cos_sin.dim(0), 1 << 30)) : 0;
    p.query_blocks = static_cast<int>(query_blocks);
    p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(k)));
    const std::int64_t blocks = readers * p.s.count;
    if (k <= 32) {
      launch_width<T, 32>(stream, p, blocks, vectors);
    } else if (k <= 64) {
      launch_width<T, 64>(stream, p, blocks, vectors);
    } else if (k <= 128) {
      launch_width<T, 128>(stream, p, blocks, vectors);
    } else {
      launch_width<T, 256>(stream, p, blocks, vectors);
    }
    if (p.s.count > 1) combine_stretches(op, stream, p.s, samples, out, lse);
  });
}

}  // namespace wt::kernels::cuda
