#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "kernels/attention_tiles_cuda.h"

// In float32 throughout: a block of 16 x 16 threads owns a square tile of scores, recomputed from q and k wherever it
// is needed, and walks over the tiles of its row (or column) in a fixed order. It is one file because forward and both
// backwards, with a cache and without, are built of the same tile: its layout in shared memory, how it is loaded,
// multiplied and masked.
namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Elements read from and written to global memory at once, where widths and addresses allow.
constexpr int kStep = 4;
// Blocks that fill a large GPU.
constexpr std::int64_t kBlocks = 512;

// Shared memory holds rows of D floats (the head width, filled up with zeros) and of TILE scores, each with four more:
// then neighbouring rows start in different banks.
template <int D>
struct Layout {
  static constexpr int kTile = D > 128 ? 32 : 64;  // rows and columns of a tile
  static constexpr int kPer = kTile / 16;          // of them per thread
  static constexpr int kStride = D + 4;
  static constexpr int kScoreStride = kTile + 4;
  static constexpr int kRows = kTile * kStride;         // floats of a tile of rows
  static constexpr int kScores = kTile * kScoreStride;  // floats of a tile of scores
  static constexpr int kVector = D >= 64 ? 4 : 2;       // a thread's columns of an output row lie in runs of this many
  static constexpr int kColumns = D / 16;               // and are this many
  __device__ static int column(int c) { return (c / kVector * 16 + threadIdx.x % 16) * kVector + c % kVector; }
};

// Rows of all heads side by side: head h of row r of sample s starts at data + s·sample_stride + r·row_stride +
// h·width.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t sample_stride = 0, row_stride = 0;
  __device__ T* at(std::int64_t sample, std::int64_t row, int head, int width) const {
    return data + sample * sample_stride + row * row_stride + static_cast<std::int64_t>(head) * width;
  }
};

// The thread's rows and columns of a tile of scores.
__device__ int row_of(int i) {
  return static_cast<int>(threadIdx.x) / 16 + 16 * i;
}
__device__ int column_of(int j) {
  return static_cast<int>(threadIdx.x) % 16 + 16 * j;
}

struct Problem {
  std::int64_t samples = 0;
  int rows = 0, heads = 0, key_heads = 0, group = 0, width = 0;
  float scale = 0;
  bool vectors = false;  // widths and addresses allow kStep elements at once
  CacheRows cache;       // query row r of a sample attends keys up to before + r, from row origin on
};

// A tile of rows into shared memory, times `factor`. Rows from `count` on and columns beyond the width become zero.
template <int D, class T>
__device__ void load_tile(const Rows<const T>& rows, std::int64_t sample, int first, int head, int count,
                          const Problem& p, float factor, float* to) {
  using L = Layout<D>;
  const T* from = rows.at(sample, first, head, p.width);
#pragma unroll 4
  for (int at = threadIdx.x; at < L::kTile * D / kStep; at += kThreads) {
    const int row = at / (D / kStep), col = at % (D / kStep) * kStep;
    const T* source = from + row * rows.row_stride + col;
    float v[kStep] = {};
    if (row < count) {
      if (p.vectors) {
        if (col < p.width) load<kStep>(source, v);
      } else {
#pragma unroll
        for (int e = 0; e < kStep; ++e) {
          if (col + e < p.width) v[e] = to_float(source[e]);
        }
      }
    }
#pragma unroll
    for (int e = 0; e < kStep; ++e) v[e] *= factor;
    store<kStep>(to + row * L::kStride + col, v);
  }
}

// acc[i][j] += a_(row i) · b_(column j).
template <int D>
__device__ void dot_rows(const float* a, const float* b, float (&acc)[Layout<D>::kPer][Layout<D>::kPer]) {
  using L = Layout<D>;
  a += row_of(0) * L::kStride;
  b += column_of(0) * L::kStride;
#pragma unroll 1
  for (int d = 0; d < D; d += 4) {
    float x[L::kPer][4], y[L::kPer][4];
#pragma unroll
    for (int i = 0; i < L::kPer; ++i) {
      load<4>(a + 16 * i * L::kStride + d, x[i]);
      load<4>(b + 16 * i * L::kStride + d, y[i]);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
#pragma unroll
      for (int i = 0; i < L::kPer; ++i) {
#pragma unroll
        for (int j = 0; j < L::kPer; ++j) acc[i][j] += x[i][e] * y[j][e];
      }
    }
  }
}

// acc[i][c] += Σ_s p[row i][s] v[s][column c], c counting the thread's columns of v.
template <int D>
__device__ void add_product(const float* p, const float* v, float (&acc)[Layout<D>::kPer][Layout<D>::kColumns]) {
  using L = Layout<D>;
  p += row_of(0) * L::kScoreStride;
  v += L::column(0);
#pragma unroll 1
  for (int s = 0; s < L::kTile; s += 4) {
    float weight[L::kPer][4];
#pragma unroll
    for (int i = 0; i < L::kPer; ++i) load<4>(p + 16 * i * L::kScoreStride + s, weight[i]);
#pragma unroll
    for (int u = 0; u < 4; ++u) {
#pragma unroll
      for (int run = 0; run < L::kColumns; run += L::kVector) {
        float y[L::kVector];
        load<L::kVector>(v + (s + u) * L::kStride + run * 16, y);
#pragma unroll
        for (int i = 0; i < L::kPer; ++i) {
#pragma unroll
          for (int e = 0; e < L::kVector; ++e) acc[i][run + e] += weight[i][u] * y[e];
        }
      }
    }
  }
}

template <int D>
__device__ void store_scores(const float (&s)[Layout<D>::kPer][Layout<D>::kPer], float* to) {
  using L = Layout<D>;
#pragma unroll
  for (int i = 0; i < L::kPer; ++i) {
#pragma unroll
    for (int j = 0; j < L::kPer; ++j) {
      to[row_of(i) * L::kScoreStride + column_of(j)] = s[i][j];
    }
  }
}

// One row of the thread's columns, times `factor`, on top of `base` (null: 0).
template <int D, class T>
__device__ void store_row(const float (&acc)[Layout<D>::kColumns], float factor, const Problem& p, T* to,
                          const float* base = nullptr) {
  using L = Layout<D>;
#pragma unroll
  for (int run = 0; run < L::kColumns; run += L::kVector) {
    const int col = L::column(run);
    float v[L::kVector];
#pragma unroll
    for (int e = 0; e < L::kVector; ++e) {
      v[e] = acc[run + e] * factor;
      if (base != nullptr && col + e < p.width) v[e] += base[col + e];
    }
    if (p.vectors) {
      if (col < p.width) store<L::kVector>(to + col, v);
    } else {
#pragma unroll
      for (int e = 0; e < L::kVector; ++e) {
        if (col + e < p.width) to[col + e] = from_float<T>(v[e]);
      }
    }
  }
}

// Over the 16 threads that share a row of scores.
__device__ float row_max(float x) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}
__device__ float row_sum(float x) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// A block: one tile of query rows of one head. Softmax as the keys go by (Milakov and Gimelshein, arXiv 1805.02867).
template <class T, int D>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<T> out, float* lse, Problem p) {
  using L = Layout<D>;
  extern __shared__ float4 shared[];
  float* queries = reinterpret_cast<float*>(shared);
  float* keys = queries + L::kRows;  // values too, in turn
  float* weights = keys + L::kRows;
  const std::int64_t pairs = p.samples * p.heads, pair = blockIdx.x % pairs;
  const std::int64_t sample = pair / p.heads;
  const int head = static_cast<int>(pair % p.heads), key_head = head / p.group;
  // The last tiles have most keys: they go first.
  const int first = static_cast<int>(gridDim.x / pairs - 1 - blockIdx.x / pairs) * L::kTile;
  const CacheRows::Place place = p.cache.of(sample);
  if (first >= place.rows) return;
  const int before = place.before, end = before + min(first + L::kTile, place.rows);

  load_tile<D>(q, sample, first, head, place.rows - first, p, p.scale, queries);
  float acc[L::kPer][L::kColumns] = {}, top[L::kPer], sum[L::kPer] = {};
#pragma unroll
  for (int i = 0; i < L::kPer; ++i) top[i] = -INFINITY;
  for (int at = 0; at < end; at += L::kTile) {
    __syncthreads();
    load_tile<D>(k, sample, place.origin + at, key_head, end - at, p, 1, keys);
    __syncthreads();
    float s[L::kPer][L::kPer] = {};
    dot_rows<D>(queries, keys, s);
    const int ahead = at - before - first;  // of the tile's first query's own key
    if (ahead + L::kTile > 1) {
#pragma unroll
      for (int i = 0; i < L::kPer; ++i) {
#pragma unroll
        for (int j = 0; j < L::kPer; ++j) {
          if (ahead + column_of(j) > row_of(i)) s[i][j] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < L::kPer; ++i) {
      float largest = s[i][0];
#pragma unroll
      for (int j = 1; j < L::kPer; ++j) largest = fmaxf(largest, s[i][j]);
      largest = fmaxf(top[i], row_max(largest));  // finite: every row attends key 0, in the first tile
      const float factor = expf(top[i] - largest);
      top[i] = largest;
      sum[i] *= factor;
#pragma unroll
      for (int j = 0; j < L::kPer; ++j) {
        s[i][j] = expf(s[i][j] - largest);
        sum[i] += s[i][j];
      }
#pragma unroll
      for (int c = 0; c < L::kColumns; ++c) acc[i][c] *= factor;
    }
    __syncthreads();
    load_tile<D>(v, sample, place.origin + at, key_head, end - at, p, 1, keys);
    store_scores<D>(s, weights);
    __syncthreads();
    add_product<D>(weights, keys, acc);
  }
#pragma unroll
  for (int i = 0; i < L::kPer; ++i) {
    const float total = row_sum(sum[i]);
    const int row = first + row_of(i);
    if (row >= place.rows) continue;
    store_row<D>(acc[i], 1 / total, p, out.at(sample, row, head, p.width));
    if (lse != nullptr && threadIdx.x % 16 == 0) lse[pair * p.rows + row] = top[i] + logf(total);
  }
}

// delta[sample, head, row] = dout · out, what the softmax's backward subtracts. A warp per row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(Rows<const T> dout, Rows<const T> out, float* delta, Problem p) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (at >= p.samples * p.rows * p.heads) return;
  const int head = static_cast<int>(at % p.heads);
  const int row = static_cast<int>(at / p.heads % p.rows);
  const std::int64_t sample = at / p.heads / p.rows;
  if (row >= p.cache.of(sample).rows) return;
  const T *x = dout.at(sample, row, head, p.width), *y = out.at(sample, row, head, p.width);
  float sum = 0;
  for (int i = threadIdx.x % 32; i < p.width; i += 32) sum += to_float(x[i]) * to_float(y[i]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) delta[(sample * p.heads + head) * p.rows + row] = sum;
}

// A block: dq of one tile of query rows of one head.
template <class T, int D>
__global__ void __launch_bounds__(kThreads)
    query_kernel(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<const T> dout, const float* lse,
                 const float* delta, Rows<T> dq, Problem p) {
  using L = Layout<D>;
  extern __shared__ float4 shared[];
  float* queries = reinterpret_cast<float*>(shared);
  float* grads = queries + L::kRows;
  float* keys = grads + L::kRows;  // values too, in turn
  float* scores = keys + L::kRows;
  const std::int64_t pairs = p.samples * p.heads, pair = blockIdx.x % pairs;
  const std::int64_t sample = pair / p.heads;
  const int head = static_cast<int>(pair % p.heads), key_head = head / p.group;
  const int first = static_cast<int>(gridDim.x / pairs - 1 - blockIdx.x / pairs) * L::kTile;
  const CacheRows::Place place = p.cache.of(sample);
  if (first >= place.rows) return;
  const int before = place.before, end = before + min(first + L::kTile, place.rows);

  load_tile<D>(q, sample, first, head, place.rows - first, p, p.scale, queries);
  load_tile<D>(dout, sample, first, head, place.rows - first, p, 1, grads);
  float acc[L::kPer][L::kColumns] = {}, log_sum[L::kPer] = {}, dot[L::kPer] = {};
#pragma unroll
  for (int i = 0; i < L::kPer; ++i) {
    const int row = first + row_of(i);
    if (row >= place.rows) continue;
    log_sum[i] = lse[pair * p.rows + row];
    dot[i] = delta[pair * p.rows + row];
  }
  for (int at = 0; at < end; at += L::kTile) {
    float s[L::kPer][L::kPer] = {}, dp[L::kPer][L::kPer] = {};
    __syncthreads();
    load_tile<D>(v, sample, place.origin + at, key_head, end - at, p, 1, keys);
    __syncthreads();
    dot_rows<D>(grads, keys, dp);
    __syncthreads();
    load_tile<D>(k, sample, place.origin + at, key_head, end - at, p, 1, keys);
    __syncthreads();
    dot_rows<D>(queries, keys, s);
#pragma unroll
    for (int i = 0; i < L::kPer; ++i) {
#pragma unroll
      for (int j = 0; j < L::kPer; ++j) {
        s[i][j] = at + column_of(j) > before + first + row_of(i) ? 0 : expf(s[i][j] - log_sum[i]) * (dp[i][j] - dot[i]);
      }
    }
    store_scores<D>(s, scores);
    __syncthreads();
    add_product<D>(scores, keys, acc);
  }
#pragma unroll
  for (int i = 0; i < L::kPer; ++i) {
    const int row = first + row_of(i);
    if (row < place.rows) store_row<D>(acc[i], p.scale, p, dq.at(sample, row, head, p.width));
  }
}

// A block: dk and dv of tiles of key rows of one key/value head, summed over the query heads that read it, in order.
// Scores are transposed here: a row of the tile is a key. `later` is what later segments gave to the cache's rows:
// older rows are added to it, new ones are complete with it. Without it older rows want nothing.
template <class T, int D>
__global__ void __launch_bounds__(kThreads, D > 64 ? 1 : 2)
    key_value_kernel(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<const T> dout, const float* lse,
                     const float* delta, Rows<float> later_dk, Rows<float> later_dv, Rows<T> dk, Rows<T> dv,
                     Problem p) {
  using L = Layout<D>;
  extern __shared__ float4 shared[];
  float* keys = reinterpret_cast<float*>(shared);
  float* values = keys + L::kRows;
  float* queries = values + L::kRows;
  float* grads = queries + L::kRows;
  float* scores = grads + L::kRows;
  const std::int64_t pairs = p.samples * p.key_heads, pair = blockIdx.x % pairs;
  const std::int64_t sample = pair / p.key_heads;
  const int key_head = static_cast<int>(pair % p.key_heads);
  const CacheRows::Place place = p.cache.of(sample);
  const int before = place.before, end = place.end(), step = static_cast<int>(gridDim.x / pairs) * L::kTile;
  const bool later = later_dk.data != nullptr;
  // The first tiles have most queries.
  int first = static_cast<int>(blockIdx.x / pairs) * L::kTile + (later ? 0 : before / L::kTile * L::kTile);
#pragma unroll 1
  for (; place.rows > 0 && first < end; first += step) {
    __syncthreads();
    load_tile<D>(k, sample, place.origin + first, key_head, end - first, p, 1, keys);
    load_tile<D>(v, sample, place.origin + first, key_head, end - first, p, 1, values);
    float dkey[L::kPer][L::kColumns] = {}, dvalue[L::kPer][L::kColumns] = {};
#pragma unroll 1
    for (int head = key_head * p.group; head < (key_head + 1) * p.group; ++head) {
      const std::int64_t statistics = (sample * p.heads + head) * p.rows;
#pragma unroll 1
      for (int at = max(first - before, 0) / L::kTile * L::kTile; at < place.rows; at += L::kTile) {
        __syncthreads();
        load_tile<D>(q, sample, at, head, place.rows - at, p, p.scale, queries);
        load_tile<D>(dout, sample, at, head, place.rows - at, p, 1, grads);
        __syncthreads();
        float s[L::kPer][L::kPer] = {}, dp[L::kPer][L::kPer] = {};
        dot_rows<D>(keys, queries, s);
        dot_rows<D>(values, grads, dp);
#pragma unroll
        for (int j = 0; j < L::kPer; ++j) {
          const int query = at + column_of(j);
          const bool there = query < place.rows;
          const float log_sum = there ? lse[statistics + query] : 0, dot = there ? delta[statistics + query] : 0;
#pragma unroll
          for (int i = 0; i < L::kPer; ++i) {
            const int key = first + row_of(i);
            s[i][j] = there && key <= before + query ? expf(s[i][j] - log_sum) : 0;
            dp[i][j] = s[i][j] * (dp[i][j] - dot);
          }
        }
        store_scores<D>(s, scores);
        __syncthreads();
        add_product<D>(scores, grads, dvalue);
        __syncthreads();
        store_scores<D>(dp, scores);
        __syncthreads();
        add_product<D>(scores, queries, dkey);  // these carry the scale
      }
    }
#pragma unroll
    for (int i = 0; i < L::kPer; ++i) {
      const int key = first + row_of(i);
      if (key >= end) continue;
      float* const more_dk = later ? later_dk.at(sample, place.origin + key, key_head, p.width) : nullptr;
      float* const more_dv = later ? later_dv.at(sample, place.origin + key, key_head, p.width) : nullptr;
      if (key >= before) {
        store_row<D>(dkey[i], 1, p, dk.at(sample, key - before, key_head, p.width), more_dk);
        store_row<D>(dvalue[i], 1, p, dv.at(sample, key - before, key_head, p.width), more_dv);
      } else if (later) {
        store_row<D>(dkey[i], 1, p, more_dk, more_dk);
        store_row<D>(dvalue[i], 1, p, more_dv, more_dv);
      }
    }
  }
}

Problem problem_of(const AttentionHeads& heads, const Tensor& rows, const CacheRows& cache) {
  Problem p;
  p.rows = cache.new_rows;
  p.samples = rows.numel() / (rows.shape()[-1] * p.rows);
  p.heads = static_cast<int>(heads.query);
  p.key_heads = static_cast<int>(heads.key_value);
  p.group = p.heads / p.key_heads;
  p.width = static_cast<int>(heads.width);
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(heads.width)));
  p.cache = cache;
  return p;
}

// Whether heads in these tensors (undefined ones do not count) can be read kStep elements at once.
bool vectors_fit(const AttentionHeads& heads, std::initializer_list<Tensor> tensors) {
  bool fit = heads.width % kStep == 0;
  for (const Tensor& tensor : tensors) {
    fit = fit && reinterpret_cast<std::uintptr_t>(tensor.raw()) % (kStep * size_of(tensor.dtype())) == 0;
  }
  return fit;
}

// q, k and v inside the rows of (…, T, W), gradients likewise. `head` counts heads from the row's start.
template <class T, class E>
Rows<T> heads_of(const Tensor& qkv, const AttentionHeads& heads, std::int64_t head) {
  const std::int64_t rows = qkv.shape()[-2], width = qkv.shape()[-1];
  return {data<E>(qkv) + head * heads.width, rows * width, width};
}

// Keys or values in their cache (…, C, J, K), or where that is undefined in the rows of qkv.
template <class T, class E>
Rows<T> cache_of(const Tensor& cache, const Tensor& qkv, const AttentionHeads& heads, std::int64_t head) {
  if (!cache.defined()) return heads_of<T, E>(qkv, heads, head);
  const std::int64_t width = heads.key_value * heads.width;
  return {data<E>(cache), cache.shape()[-3] * width, width};
}

// Calls f.template operator()<D>() with D the smallest width of the kernels that holds this one.
template <class F>
void dispatch_width(const char* op, std::int64_t width, F&& f) {
  WT_CHECK(width <= 256, op, ": heads are ", width, " wide, at most 256 on CUDA");
  if (width <= 32) {
    f.template operator()<32>();
  } else if (width <= 64) {
    f.template operator()<64>();
  } else if (width <= 128) {
    f.template operator()<128>();
  } else {
    f.template operator()<256>();
  }
}

// Launches a kernel with `tiles_of_rows` tiles of rows and one of scores in shared memory, a block for each tile of the
// sequence and each of `pairs` (sample, head).
template <int D, class... Parameters, class... Args>
void launch(const char* op, const Stream& stream, void (*kernel)(Parameters...), int tiles_of_rows, std::int64_t rows,
            std::int64_t pairs, const Args&... args) {
  using L = Layout<D>;
  const int bytes = (tiles_of_rows * L::kRows + L::kScores) * static_cast<int>(sizeof(float));
  const std::int64_t blocks = ceil_div(rows, L::kTile) * pairs;
  WT_CHECK(blocks < std::int64_t{1} << 31, op, ": ", rows, " rows of ", pairs, " heads are too many for one launch");
  WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  kernel<<<grid_size(blocks), kThreads, static_cast<std::size_t>(bytes), native(stream)>>>(args...);
  check_launch(op);
}

}  // namespace

void tiled_attention_forward(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                             const Tensor& keys, const Tensor& values, const CacheRows& rows, const Tensor& out,
                             const Tensor& lse) {
  const std::int64_t h = heads.query, j = heads.key_value;
  Problem p = problem_of(heads, qkv, rows);
  p.vectors = vectors_fit(heads, {qkv, keys, values, out});
  dispatch_float(op, qkv.dtype(), [&]<class T>() {
    dispatch_width(op, heads.width, [&]<int D>() {
      launch<D>(op, stream, forward_kernel<T, D>, 2, p.rows, p.samples * h, heads_of<const T, T>(qkv, heads, 0),
                cache_of<const T, T>(keys, qkv, heads, h), cache_of<const T, T>(values, qkv, heads, h + j),
                heads_of<T, T>(out, heads, 0), lse.defined() ? data<float>(lse) : nullptr, p);
    });
  });
}

void tiled_attention_backward(const char* op, const Stream& stream, const Tensor& dout, const Tensor& qkv,
                              const Tensor& out, const Tensor& lse, const AttentionHeads& heads, const Tensor& keys,
                              const Tensor& values, const CacheRows& rows, const Tensor& dkeys, const Tensor& dvalues,
                              const Tensor& dqkv) {
  const std::int64_t h = heads.query, j = heads.key_value;
  Problem p = problem_of(heads, qkv, rows);
  p.vectors = vectors_fit(heads, {qkv, keys, values, out, dout, dkeys, dvalues, dqkv});
  const Tensor delta = dout_dot_out(op, stream, dout, out, heads, rows);
  const auto later = [&](const Tensor& cache) {
    return cache.defined() ? cache_of<float, float>(cache, qkv, heads, 0) : Rows<float>{};
  };
  dispatch_float(op, qkv.dtype(), [&]<class T>() {
    const auto q = heads_of<const T, T>(qkv, heads, 0), grad = heads_of<const T, T>(dout, heads, 0);
    const auto k = cache_of<const T, T>(keys, qkv, heads, h), v = cache_of<const T, T>(values, qkv, heads, h + j);
    dispatch_width(op, heads.width, [&]<int D>() {
      launch<D>(op, stream, query_kernel<T, D>, 3, p.rows, p.samples * h, q, k, v, grad, data<float>(lse),
                data<float>(delta), heads_of<T, T>(dqkv, heads, 0), p);
      // A block for each tile of new rows at least, and enough to fill a large GPU with those of the rows before them.
      const std::int64_t filled = ceil_div(kBlocks, p.samples * j) * Layout<D>::kTile;
      const std::int64_t spread = std::max<std::int64_t>(p.rows, std::min<std::int64_t>(rows.capacity, filled));
      launch<D>(op, stream, key_value_kernel<T, D>, 4, spread, p.samples * j, q, k, v, grad, data<float>(lse),
                data<float>(delta), later(dkeys), later(dvalues), heads_of<T, T>(dqkv, heads, h),
                heads_of<T, T>(dqkv, heads, h + j), p);
    });
  });
}

Tensor dout_dot_out(const char* op, const Stream& stream, const Tensor& dout, const Tensor& out,
                    const AttentionHeads& heads, const CacheRows& rows) {
  const Problem p = problem_of(heads, out, rows);
  const Tensor delta = Tensor::empty(stream, {p.samples, heads.query, p.rows}, DType::kF32);
  dispatch_float(op, out.dtype(), [&]<class T>() {
    const auto blocks = grid_size(ceil_div(delta.numel(), kThreads / 32));
    delta_kernel<T><<<blocks, kThreads, 0, native(stream)>>>(
        heads_of<const T, T>(dout, heads, 0), heads_of<const T, T>(out, heads, 0), data<float>(delta), p);
    check_launch(op);
  });
  return delta;
}

}  // namespace wt::kernels::cuda
