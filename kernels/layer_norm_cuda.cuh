// LayerNorm on CUDA, alone (kernels/layer_norm.h: y lies in another order) or with ADD behind a sum
// (kernels/add_norm.h: delta does).
#pragma once

#include "kernels/grad_mode.h"
#include "kernels/norm_cuda.cuh"

namespace wt::kernels::cuda {

// The variance is the mean of squared distances from the mean, as on the CPU: the row is at hand, and the difference of
// two large sums would lose digits. With ADD, x + delta is what is normalised, and written to h.
template <bool ADD, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>)
    layer_forward_kernel(const T* x, const T* delta, LayerOrder order, const float* __restrict__ w,
                         const float* __restrict__ b, std::int64_t rows, int packs, float eps, T* h, T* y,
                         float* __restrict__ mean, float* __restrict__ rstd) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[2][kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t row = std::int64_t{blockIdx.x} * kTileRows<LANES> + threadIdx.x / LANES;
  const std::int64_t at = blockIdx.y * rows + row, other = place * rows + row;
  const int held = row < rows ? packs : 0;
  const std::int64_t width = std::int64_t{packs} * N;

  Packed<T, N> in[PACKS];
  load_row<LANES>(x + at * width, lane, held, in);
  if constexpr (ADD) add_row<LANES>(delta + other * width, lane, held, h + at * width, in);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    float v[N];
    in[i].unpack(v);
#pragma unroll
    for (int e = 0; e < N; ++e) sum += v[e];
  }
  const float mu = row_sum<LANES>(sum, scratch[0]) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    if (i * LANES + lane >= held) continue;
    float v[N];
    in[i].unpack(v);
#pragma unroll
    for (int e = 0; e < N; ++e) squares += (v[e] - mu) * (v[e] - mu);
  }
  const float rho = 1.0f / sqrtf(row_sum<LANES>(squares, scratch[1]) / static_cast<float>(width) + eps);
  if (held > 0 && lane == 0) {
    mean[at] = mu;
    rstd[at] = rho;
  }
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    const int p = i * LANES + lane;
    if (p >= held) continue;
    float v[N], weight[N], bias[N];
    in[i].unpack(v);
    load_constant(w + blockIdx.y * width + p * N, weight);
    load_constant(b + blockIdx.y * width + p * N, bias);
#pragma unroll
    for (int e = 0; e < N; ++e) v[e] = (v[e] - mu) * rho * weight[e] + bias[e];
    store_packed<N>(y + (ADD ? at : other) * width + p * N, Packed<T, N>::pack(v));
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_layer_forward_kernel(const T* x, const T* delta, LayerOrder order, const float* __restrict__ w,
                               const float* __restrict__ b, std::int64_t rows, std::int64_t width, float eps, T* h,
                               T* y, float* __restrict__ mean, float* __restrict__ rstd) {
  __shared__ float scratch[2][kPlainThreads / 32];
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t at = blockIdx.y * rows + blockIdx.x, other = place * rows + blockIdx.x;
  const T* const in = ADD ? h : x;
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    if constexpr (ADD) h[at * width + i] = plain_sum(x[at * width + i], delta[other * width + i]);
    sum += to_float(in[at * width + i]);
  }
  const float mu = block_sum<kPlainThreads>(sum, scratch[0]) / static_cast<float>(width);
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float v = to_float(in[at * width + i]) - mu;
    squares += v * v;
  }
  const float rho = 1.0f / sqrtf(block_sum<kPlainThreads>(squares, scratch[1]) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) {
    mean[at] = mu;
    rstd[at] = rho;
  }
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const std::int64_t column = blockIdx.y * width + i;
    const float v = (to_float(in[at * width + i]) - mu) * rho * w[column] + b[column];
    y[(ADD ? at : other) * width + i] = from_float<T>(v);
  }
}

// One chunk of rows per block. `dw_partial` and `db_partial` (both null: not wanted) get the chunk's Σ dy∘x̂ and Σ dy.
// With ADD, dx is written to ddelta (null: not wanted), too.
template <bool ADD, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>, (kTileBlocks<LANES, PACKS>))
    layer_backward_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ w,
                          const float* __restrict__ mean, const float* __restrict__ rstd, std::int64_t rows,
                          std::int64_t chunk, int packs, T* dx, GradMode mode, T* ddelta,
                          float* __restrict__ dw_partial, float* __restrict__ db_partial) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[2][2][kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t width = std::int64_t{packs} * N;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  w += blockIdx.y * width;

  float dw[PACKS][N] = {}, db[PACKS][N] = {};
  int turn = 0;
  // All threads take every turn: the sums over a row are made together.
  for (std::int64_t first = begin; first < end; first += kTileRows<LANES>, turn ^= 1) {
    const std::int64_t row = first + threadIdx.x / LANES;
    const std::int64_t at = blockIdx.y * rows + row, other = place * rows + row;
    const int held = row < end ? packs : 0;
    const float rho = held > 0 ? rstd[at] : 0.0f;
    const float mu = held > 0 ? mean[at] : 0.0f;
    Packed<T, N> grad[PACKS], in[PACKS];
    load_row<LANES>(dy + (ADD ? at : other) * width, lane, held, grad);
    load_row<LANES>(x + at * width, lane, held, in);
    float sum = 0, dot = 0;
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      const int p = i * LANES + lane;
      if (p >= held) continue;
      float g[N], v[N], weight[N];
      grad[i].unpack(g);
      in[i].unpack(v);
      load_constant(w + p * N, weight);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const float normed = (v[e] - mu) * rho;
        dw[i][e] += g[e] * normed;
        db[i][e] += g[e];
        sum += weight[e] * g[e];
        dot += weight[e] * g[e] * normed;
      }
    }
    if (mode == GradMode::kSkip) continue;
    const float mean_g = row_sum<LANES>(sum, scratch[turn][0]) / static_cast<float>(width);
    const float mean_gx = row_sum<LANES>(dot, scratch[turn][1]) / static_cast<float>(width);
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      const int p = i * LANES + lane;
      if (p >= held) continue;
      T* const to = dx + at * width + p * N;
      float g[N], v[N], weight[N], before[N] = {};
      if (mode == GradMode::kAccumulate) load_packed<N>(to).unpack(before);
      grad[i].unpack(g);
      in[i].unpack(v);
      load_constant(w + p * N, weight);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        g[e] = before[e] + rho * (weight[e] * g[e] - mean_g - (v[e] - mu) * rho * mean_gx);
      }
      const auto total = Packed<T, N>::pack(g);
      store_packed<N>(to, total);
      if constexpr (ADD) {
        if (ddelta != nullptr) store_packed<N>(ddelta + other * width + p * N, total);
      }
    }
  }
  if (dw_partial != nullptr) {
    const std::int64_t place = (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width;
    store_column_sums<T, LANES>(dw, lane, packs, dw_partial + place);
    store_column_sums<T, LANES>(db, lane, packs, db_partial + place);
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_layer_input_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ w,
                             const float* __restrict__ mean, const float* __restrict__ rstd, std::int64_t rows,
                             std::int64_t width, T* dx, GradMode mode, T* ddelta) {
  __shared__ float scratch[2][kPlainThreads / 32];
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t at = blockIdx.y * rows + blockIdx.x, other = place * rows + blockIdx.x;
  const float rho = rstd[at], mu = mean[at];
  w += blockIdx.y * width;
  dy += (ADD ? at : other) * width;
  float sum = 0, dot = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float g = w[i] * to_float(dy[i]);
    sum += g;
    dot += g * (to_float(x[at * width + i]) - mu) * rho;
  }
  const float mean_g = block_sum<kPlainThreads>(sum, scratch[0]) / static_cast<float>(width);
  const float mean_gx = block_sum<kPlainThreads>(dot, scratch[1]) / static_cast<float>(width);
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float before = mode == GradMode::kAccumulate ? to_float(dx[at * width + i]) : 0.0f;
    const float normed = (to_float(x[at * width + i]) - mu) * rho;
    const float value = w[i] * to_float(dy[i]) - mean_g - normed * mean_gx;
    const T total = from_float<T>(before + rho * value);
    dx[at * width + i] = total;
    if constexpr (ADD) {
      if (ddelta != nullptr) ddelta[other * width + i] = total;
    }
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_layer_weight_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ mean,
                              const float* __restrict__ rstd, std::int64_t rows, std::int64_t chunk, std::int64_t width,
                              float* dw_partial, float* db_partial) {
  const std::int64_t place = order(), column = std::int64_t{blockIdx.z} * kPlainThreads + threadIdx.x;
  if (place < 0 || column >= width) return;
  dy += ((ADD ? blockIdx.y : place) * rows) * width;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  float dw = 0, db = 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = blockIdx.y * rows + row;
    const float g = to_float(dy[row * width + column]);
    dw += g * (to_float(x[at * width + column]) - mean[at]) * rstd[at];
    db += g;
  }
  const std::int64_t chunk_at = (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width + column;
  dw_partial[chunk_at] = dw;
  db_partial[chunk_at] = db;
}

// delta and h: with ADD only.
template <bool ADD>
void run_layer_forward(const char* op, const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                       const Tensor& w, const Tensor& b, double eps, const Tensor& h, const Tensor& y,
                       const Tensor& mean, const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    const T* const more = ADD ? data<T>(delta) : nullptr;
    T* const sum = ADD ? data<T>(h) : nullptr;
    const LayerOrder places = layer_order(order);
    const float* const weight = data<float>(w);
    const float* const bias = data<float>(b);
    T* const out = data<T>(y);
    float* const mu = data<float>(mean);
    float* const rho = data<float>(rstd);
    const std::int64_t packs = d % kVec<T> == 0 && aligned(in, more, weight, bias, sum, out) ? d / kVec<T> : 0;
    const bool tiled = dispatch_tile<8>(packs, [&]<int LANES, int PACKS>() {
      layer_forward_kernel<ADD, T, LANES, PACKS>
          <<<row_grid(ceil_div(r, kTileRows<LANES>), g), kTileThreads<LANES>, 0, native(stream)>>>(
              in, more, places, weight, bias, r, static_cast<int>(packs), static_cast<float>(eps), sum, out, mu, rho);
    });
    if (!tiled) {
      plain_layer_forward_kernel<ADD, T><<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(
          in, more, places, weight, bias, r, d, static_cast<float>(eps), sum, out, mu, rho);
    }
  });
  check_launch(op);
}

// ddelta: with ADD only, and there optional.
template <bool ADD>
void run_layer_backward(const char* op, const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& order,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd, const Tensor& dx, GradMode dx_mode,
                        const Tensor& ddelta, const Tensor& dw, const Tensor& db) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0 || (dx_mode == GradMode::kSkip && !dw.defined())) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dy);
    const T* const in = data<T>(x);
    const float* const weight = data<float>(w);
    const float* const mu = data<float>(mean);
    const float* const rho = data<float>(rstd);
    T* const to = dx_mode != GradMode::kSkip ? data<T>(dx) : nullptr;
    T* const too = ddelta.defined() ? data<T>(ddelta) : nullptr;
    const LayerOrder places = layer_order(order);
    // The chunks' sums for dw, then those for db.
    const auto partials = [&](const RowChunks& chunks) {
      return dw.defined() ? Tensor::empty(stream, {2, g, chunks.count, d}, DType::kF32) : Tensor{};
    };
    const auto add = [&](const Tensor& partial, const RowChunks& chunks) {
      if (!dw.defined()) return;
      add_partials(stream, data<float>(partial), g, chunks.count, d, data<float>(dw));
      add_partials(stream, data<float>(partial) + g * chunks.count * d, g, chunks.count, d, data<float>(db));
    };
    const std::int64_t packs = d % kVec<T> == 0 && aligned(grad, in, weight, to, too) ? d / kVec<T> : 0;
    // Wider rows would need more registers than a thread has.
    const bool tiled = packs <= 1024 && dispatch_tile<4>(packs, [&]<int LANES, int PACKS>() {
                         const RowChunks chunks = tile_chunks<LANES, PACKS>(g, r);
                         const Tensor partial = partials(chunks);
                         float* const sums = partial.defined() ? data<float>(partial) : nullptr;
                         layer_backward_kernel<ADD, T, LANES, PACKS>
                             <<<row_grid(chunks.count, g), kTileThreads<LANES>, 0, native(stream)>>>(
                                 grad, in, places, weight, mu, rho, r, chunks.rows, static_cast<int>(packs), to,
                                 dx_mode, too, sums, sums == nullptr ? nullptr : sums + g * chunks.count * d);
                         add(partial, chunks);
                       });
    if (tiled) return;
    // dx may be dy, so dw and db come first.
    if (dw.defined()) {
      const RowChunks chunks = plain_chunks(g, r, d);
      const Tensor partial = partials(chunks);
      float* const sums = data<float>(partial);
      plain_layer_weight_kernel<ADD, T><<<column_grid(chunks, g, d), kPlainThreads, 0, native(stream)>>>(
          grad, in, places, mu, rho, r, chunks.rows, d, sums, sums + g * chunks.count * d);
      add(partial, chunks);
    }
    if (to != nullptr) {
      plain_layer_input_kernel<ADD, T><<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(
          grad, in, places, weight, mu, rho, r, d, to, dx_mode, too);
    }
  });
  check_launch(op);
}

}  // namespace wt::kernels::cuda
