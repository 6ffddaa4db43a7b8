#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/attention_decode_cuda.h"
#include "kernels/cuda_common.cuh"

// A block reads one stretch of the cache of one key/value head, once for all query rows that share it, and keeps for
// each of them the largest score, the sum of the weights and the weighted values; a second kernel puts the stretches
// together in order. As many blocks are launched as the cache's capacity may need: its length is known on the GPU only.
namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxSplits = kThreads;
// Blocks wanted: about four for each multiprocessor of a large GPU.
constexpr std::int64_t kBlocks = 512;
// Keys that are worth a block.
constexpr int kKeys = 64;
constexpr std::int64_t kMaxQueries = 16;
// Below any score, and finite, so that differences of two are never NaN.
constexpr float kNone = -FLT_MAX / 4;

template <class T>
struct Decode {
  const T* qkv;
  const std::int32_t* length;
  T* keys;
  T* values;
  T* out;
  const float* cos_sin;  // null: nothing is turned
  float* partial;        // (sample, key head, query, split, width), with several splits
  float2* sums;          // largest score and sum of weights of each
  int rows, capacity, splits;
  int most_parts;             // stretches that a cache is cut into at most
  int query_blocks, queries;  // queries: rows times group, of a key/value head
  int heads, key_heads, group, width;
  int positions;  // of cos_sin
  float scale;
  std::int32_t* fault;

  __device__ std::int64_t row_width() const { return static_cast<std::int64_t>(heads + 2 * key_heads) * width; }
  // Rows in the cache before the call.
  __device__ int before(std::int64_t sample) const { return min(max(length[sample], 0), capacity); }
  // Keys of a stretch, which follow from the rows in the cache and not from its capacity: results are the same however
  // much further it may grow. There are no more than `splits` stretches.
  __device__ int chunk(std::int64_t sample) const {
    const int end = min(before(sample) + rows, capacity), each = (end + most_parts - 1) / most_parts;
    return (each + kKeys - 1) / kKeys * kKeys;
  }
  // Keys that query `n` of a sample attends.
  __device__ int visible(std::int64_t sample, int n) const { return min(before(sample) + n / group + 1, capacity); }
  __device__ T* out_row(std::int64_t sample, int key_head, int n) const {
    return out + ((sample * rows + n / group) * heads + key_head * group + n % group) * width;
  }
};

// Columns [col, col + V) of a head turned by its position, where heads are turned; `x` holds them as they are.
template <int V, class T>
__device__ void turn(const Decode<T>& p, const T* head, int col, int position, float (&x)[V]) {
  if (p.cos_sin == nullptr) return;
  if (position >= p.positions) return report(p.fault, Fault::kRotaryEntry);
  const int half = p.width / 2;
  const float* const angles = p.cos_sin + static_cast<std::int64_t>(position) * p.width;
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
  std::int64_t task = blockIdx.x;
  const int split = static_cast<int>(task % p.splits);
  task /= p.splits;
  const int query = static_cast<int>(task % p.query_blocks) * N;
  const bool writes = task % p.query_blocks == 0;
  task /= p.query_blocks;
  const int key_head = static_cast<int>(task % p.key_heads);
  const std::int64_t sample = task / p.key_heads;
  const int before = p.before(sample), end = min(before + p.rows, p.capacity);
  const int chunk = p.chunk(sample), begin = split * chunk, stop = min(begin + chunk, end);
  if (p.length[sample] < 0 || p.length[sample] > p.capacity - p.rows) report(p.fault, Fault::kCacheRow);
  if (begin >= end) return;

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, owner = lane % L, part = lane / L;
  float q[N][E], acc[N][E] = {}, top[N], sum[N] = {};
  int visible[N];
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const bool there = query + n < p.queries;
    const int row = there ? (query + n) / p.group : 0, head = key_head * p.group + (query + n) % p.group;
    const T* from = p.qkv + (sample * p.rows + row) * p.row_width() + static_cast<std::int64_t>(head) * p.width;
    visible[n] = there ? p.visible(sample, query + n) : 0;
    top[n] = kNone;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int col = (c * L + owner) * V;
      float v[V] = {};
      if (there && col < p.width) {
        load<V>(from + col, v);
        turn<V>(p, from, col, before + row, v);
      }
#pragma unroll
      for (int e = 0; e < V; ++e) q[n][c * V + e] = v[e] * p.scale;
    }
  }

  for (int first = begin + warp * kParts; first < stop; first += kStride * kUnroll) {
    Vec<T, V> k[kUnroll][C] = {}, v[kUnroll][C] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int key = first + u * kStride + part;
      if (key >= stop) continue;
      const std::int64_t place = ((sample * p.capacity + key) * p.key_heads + key_head) * p.width;
      const T *key_row = p.keys + place, *value_row = p.values + place;
      const bool fresh = key >= before;  // a row of this call: taken from there, and put into the cache
      if (fresh) {
        key_row = p.qkv + (sample * p.rows + key - before) * p.row_width() +
                  static_cast<std::int64_t>(p.heads + key_head) * p.width;
        value_row = key_row + static_cast<std::int64_t>(p.key_heads) * p.width;
      }
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const int col = (c * L + owner) * V;
        if (col >= p.width) continue;
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
          *reinterpret_cast<Vec<T, V>*>(p.keys + place + col) = k[u][c];
          *reinterpret_cast<Vec<T, V>*>(p.values + place + col) = v[u][c];
        }
      }
    }
    float s[kUnroll][N] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int e = 0; e < E; ++e) {
        const float x = to_float(k[u][e / V].v[e % V]);
#pragma unroll
        for (int n = 0; n < N; ++n) s[u][n] += q[n][e] * x;
      }
      const int key = first + u * kStride + part;
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int offset = L / 2; offset > 0; offset /= 2) s[u][n] += __shfl_xor_sync(0xffffffffu, s[u][n], offset);
        if (key >= stop || key >= visible[n]) s[u][n] = -INFINITY;
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float largest = top[n];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) largest = fmaxf(largest, s[u][n]);
      const float factor = expf(top[n] - largest);
      top[n] = largest;
      sum[n] *= factor;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        s[u][n] = expf(s[u][n] - largest);
        sum[n] += s[u][n];
      }
#pragma unroll
      for (int e = 0; e < E; ++e) {
        acc[n][e] *= factor;
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) acc[n][e] += s[u][n] * to_float(v[u][e / V].v[e % V]);
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
    if (query + n >= p.queries || col >= p.width) continue;
    float largest = block_top[0][n], total = 0, value = 0;
#pragma unroll
    for (int w = 1; w < kWarps; ++w) largest = fmaxf(largest, block_top[w][n]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = expf(block_top[w][n] - largest);
      total += block_sum[w][n] * factor;
      value += block_acc[w][n][col] * factor;
    }
    if (p.splits == 1) {
      p.out_row(sample, key_head, query + n)[col] = from_float<T>(value / total);
      continue;
    }
    const std::int64_t place = ((sample * p.key_heads + key_head) * p.queries + query + n) * p.splits + split;
    p.partial[place * p.width + col] = value;
    if (col == 0) p.sums[place] = {largest, total};
  }
}

// A block per query row.
template <class T>
__global__ void __launch_bounds__(kThreads) combine_kernel(Decode<T> p) {
  __shared__ float weights[kMaxSplits], scratch[2][kWarps];
  let_next_begin();
  wait_for_previous();
  const std::int64_t task = blockIdx.x;
  const int n = static_cast<int>(task % p.queries), key_head = static_cast<int>(task / p.queries % p.key_heads);
  const std::int64_t sample = task / p.queries / p.key_heads;
  // Stretches past the last key that this query attends were not written, or hold nothing for it.
  const int chunk = p.chunk(sample), used = (p.visible(sample, n) + chunk - 1) / chunk;
  const int split = threadIdx.x;
  const float2 mine = split < used ? p.sums[task * p.splits + split] : float2{kNone, 0};
  const float top = block_max<kThreads>(mine.x, scratch[0]);
  const float weight = expf(mine.x - top);
  const float total = block_sum<kThreads>(mine.y * weight, scratch[1]);
  weights[split] = weight;
  __syncthreads();
  T* to = p.out_row(sample, key_head, n);
  for (int col = threadIdx.x; col < p.width; col += kThreads) {
    const float* from = p.partial + task * p.splits * p.width + col;
    float value = 0;
#pragma unroll 8
    for (int s = 0; s < used; ++s) value += weights[s] * from[static_cast<std::int64_t>(s) * p.width];
    to[col] = from_float<T>(value / total);
  }
}

template <class T, int D, int V, int N>
void launch_split(const Stream& stream, const Decode<T>& p, std::int64_t blocks) {
  launch_early("cached attention", split_kernel<T, D, V, N>, grid_size(blocks), kThreads, 0, stream, p);
}

// Queries at once: as few of these as hold them all, or eight. Odd widths, read by single elements, do with one size.
int queries_at_once(std::int64_t queries, bool vectors) {
  if (!vectors || (queries > 1 && queries <= 4)) return 4;
  return queries == 1 ? 1 : 8;
}

template <class T, int D>
void launch_width(const Stream& stream, const Decode<T>& p, std::int64_t blocks, bool vectors) {
  const int at_once = queries_at_once(p.queries, vectors);
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

void decode_attention(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin) {
  const std::int64_t b = qkv.dim(0), t = qkv.dim(1), capacity = keys.dim(1);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width;
  WT_CHECK(k <= 256, "cached attention: heads are ", k, " wide, at most 256 on CUDA");
  WT_CHECK(capacity < std::int64_t{1} << 30, "cached attention: a key/value cache of ", capacity, " rows");
  dispatch_float("cached attention", qkv.dtype(), [&]<class T>() {
    bool vectors = k % kVec<T> == 0;
    for (const Tensor* tensor : {&qkv, &keys, &values}) {
      vectors = vectors && reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 == 0;
    }
    const std::int64_t queries = t * (h / j), query_blocks = ceil_div(queries, queries_at_once(queries, vectors));
    const std::int64_t readers = b * j * query_blocks;
    const std::int64_t most = std::min(ceil_div(kBlocks, readers), static_cast<std::int64_t>(kMaxSplits));
    const std::int64_t splits = std::min(most, ceil_div(capacity, kKeys));
    Tensor partial, sums;
    Decode<T> p{};
    if (splits > 1) {
      partial = Tensor::empty(stream, {b * j * queries * splits, k}, DType::kF32);
      sums = Tensor::empty(stream, {b * j * queries * splits, 2}, DType::kF32);
      p.partial = data<float>(partial);
      p.sums = reinterpret_cast<float2*>(data<float>(sums));
    }
    p.qkv = data<T>(qkv);
    p.length = length.data<std::int32_t>();
    p.keys = data<T>(keys);
    p.values = data<T>(values);
    p.out = data<T>(out);
    p.cos_sin = cos_sin.defined() ? data<float>(cos_sin) : nullptr;
    p.positions = cos_sin.defined() ? static_cast<int>(std::min<std::int64_t>(cos_sin.dim(0), 1 << 30)) : 0;
    p.rows = static_cast<int>(t);
    p.capacity = static_cast<int>(capacity);
    p.most_parts = static_cast<int>(most);
    p.fault = wt::cuda::fault_word();
    p.splits = static_cast<int>(splits);
    p.query_blocks = static_cast<int>(query_blocks);
    p.queries = static_cast<int>(queries);
    p.heads = static_cast<int>(h);
    p.key_heads = static_cast<int>(j);
    p.group = static_cast<int>(h / j);
    p.width = static_cast<int>(k);
    p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(k)));
    const std::int64_t blocks = readers * splits;
    if (k <= 32) {
      launch_width<T, 32>(stream, p, blocks, vectors);
    } else if (k <= 64) {
      launch_width<T, 64>(stream, p, blocks, vectors);
    } else if (k <= 128) {
      launch_width<T, 128>(stream, p, blocks, vectors);
    } else {
      launch_width<T, 256>(stream, p, blocks, vectors);
    }
    if (splits == 1) return;
    launch_early("cached attention", combine_kernel<T>, grid_size(b * j * queries), kThreads, 0, stream, p);
  });
}

}  // namespace wt::kernels::cuda
