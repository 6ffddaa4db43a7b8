// RMSNorm on CUDA, alone (kernels/rms_norm.h: y lies in another order) or with ADD behind a sum (kernels/add_norm.h:
// delta does).
#pragma once

#include "kernels/grad_mode.h"
#include "kernels/norm_cuda.cuh"

namespace wt::kernels::cuda {

// With ADD, x + delta is what is normalised, and written to h.
template <bool ADD, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>)
    rms_forward_kernel(const T* x, const T* delta, LayerOrder order, const float* __restrict__ w, std::int64_t rows,
                       int packs, float eps, T* h, T* y, float* __restrict__ rstd) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[kTileThreads<LANES> / 32];
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
  float squares = 0;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    float v[N];
    in[i].unpack(v);
#pragma unroll
    for (int e = 0; e < N; ++e) squares += v[e] * v[e];
  }
  const float rho = 1.0f / sqrtf(row_sum<LANES>(squares, scratch) / static_cast<float>(width) + eps);
  if (held > 0 && lane == 0) rstd[at] = rho;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    const int p = i * LANES + lane;
    if (p >= held) continue;
    float v[N], weight[N];
    in[i].unpack(v);
    load_constant(w + blockIdx.y * width + p * N, weight);
#pragma unroll
    for (int e = 0; e < N; ++e) v[e] *= rho * weight[e];
    store_packed<N>(y + (ADD ? at : other) * width + p * N, Packed<T, N>::pack(v));
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_rms_forward_kernel(const T* x, const T* delta, LayerOrder order, const float* __restrict__ w,
                             std::int64_t rows, std::int64_t width, float eps, T* h, T* y, float* __restrict__ rstd) {
  __shared__ float scratch[kPlainThreads / 32];
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t at = blockIdx.y * rows + blockIdx.x, other = place * rows + blockIdx.x;
  const T* const in = ADD ? h : x;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    if constexpr (ADD) h[at * width + i] = plain_sum(x[at * width + i], delta[other * width + i]);
    const float v = to_float(in[at * width + i]);
    squares += v * v;
  }
  const float rho = 1.0f / sqrtf(block_sum<kPlainThreads>(squares, scratch) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) rstd[at] = rho;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float v = to_float(in[at * width + i]) * (rho * w[blockIdx.y * width + i]);
    y[(ADD ? at : other) * width + i] = from_float<T>(v);
  }
}

// One chunk of rows per block. `partial` (null: not wanted) gets the chunk's Σ dy∘x ρ. With ADD, dx is written to
// ddelta (null: not wanted), too.
template <bool ADD, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>, (kTileBlocks<LANES, PACKS>))
    rms_backward_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ w,
                        const float* __restrict__ rstd, std::int64_t rows, std::int64_t chunk, int packs, T* dx,
                        GradMode mode, T* ddelta, float* __restrict__ partial) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[2][kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t width = std::int64_t{packs} * N;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  w += blockIdx.y * width;

  float dw[PACKS][N] = {};
  int turn = 0;
  // All threads take every turn: the sums over a row are made together.
  for (std::int64_t first = begin; first < end; first += kTileRows<LANES>, turn ^= 1) {
    const std::int64_t row = first + threadIdx.x / LANES;
    const std::int64_t at = blockIdx.y * rows + row, other = place * rows + row;
    const int held = row < end ? packs : 0;
    const float rho = held > 0 ? rstd[at] : 0.0f;
    Packed<T, N> grad[PACKS], in[PACKS];
    load_row<LANES>(dy + (ADD ? at : other) * width, lane, held, grad);
    load_row<LANES>(x + at * width, lane, held, in);
    float dot = 0;
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
        const float product = g[e] * v[e];
        dw[i][e] += product * rho;
        dot += product * weight[e];
      }
    }
    if (mode == GradMode::kSkip) continue;
    const float mean = row_sum<LANES>(dot, scratch[turn]) / static_cast<float>(width) * rho * rho;
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
      for (int e = 0; e < N; ++e) g[e] = before[e] + rho * (weight[e] * g[e] - v[e] * mean);
      const auto total = Packed<T, N>::pack(g);
      store_packed<N>(to, total);
      if constexpr (ADD) {
        if (ddelta != nullptr) store_packed<N>(ddelta + other * width + p * N, total);
      }
    }
  }
  if (partial != nullptr) {
    store_column_sums<T, LANES>(dw, lane, packs, partial + (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width);
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_rms_input_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ w,
                           const float* __restrict__ rstd, std::int64_t rows, std::int64_t width, T* dx, GradMode mode,
                           T* ddelta) {
  __shared__ float scratch[kPlainThreads / 32];
  const std::int64_t place = order();
  if (place < 0) return;
  const std::int64_t at = blockIdx.y * rows + blockIdx.x, other = place * rows + blockIdx.x;
  w += blockIdx.y * width;
  dy += (ADD ? at : other) * width;
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    dot += w[i] * to_float(dy[i]) * to_float(x[at * width + i]);
  }
  const float rho = rstd[at];
  const float mean = block_sum<kPlainThreads>(dot, scratch) / static_cast<float>(width) * rho * rho;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float before = mode == GradMode::kAccumulate ? to_float(dx[at * width + i]) : 0.0f;
    const float value = w[i] * to_float(dy[i]) - to_float(x[at * width + i]) * mean;
    const T total = from_float<T>(before + rho * value);
    dx[at * width + i] = total;
    if constexpr (ADD) {
      if (ddelta != nullptr) ddelta[other * width + i] = total;
    }
  }
}

template <bool ADD, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_rms_weight_kernel(const T* dy, const T* x, LayerOrder order, const float* __restrict__ rstd,
                            std::int64_t rows, std::int64_t chunk, std::int64_t width, float* partial) {
  const std::int64_t place = order(), column = std::int64_t{blockIdx.z} * kPlainThreads + threadIdx.x;
  if (place < 0 || column >= width) return;
  dy += ((ADD ? blockIdx.y : place) * rows) * width;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  float sum = 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = blockIdx.y * rows + row;
    sum += to_float(dy[row * width + column]) * to_float(x[at * width + column]) * rstd[at];
  }
  partial[(std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width + column] = sum;
}

// delta and h: with ADD only.
template <bool ADD>
void run_rms_forward(const char* op, const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                     const Tensor& w, double eps, const Tensor& h, const Tensor& y, const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    const T* const more = ADD ? data<T>(delta) : nullptr;
    T* const sum = ADD ? data<T>(h) : nullptr;
    const LayerOrder places = layer_order(order);
    const float* const weight = data<float>(w);
    T* const out = data<T>(y);
    float* const rho = data<float>(rstd);
    const std::int64_t packs = d % kVec<T> == 0 && aligned(in, more, weight, sum, out) ? d / kVec<T> : 0;
    const bool tiled = dispatch_tile<8>(packs, [&]<int LANES, int PACKS>() {
      rms_forward_kernel<ADD, T, LANES, PACKS>
          <<<row_grid(ceil_div(r, kTileRows<LANES>), g), kTileThreads<LANES>, 0, native(stream)>>>(
              in, more, places, weight, r, static_cast<int>(packs), static_cast<float>(eps), sum, out, rho);
    });
    if (!tiled) {
      plain_rms_forward_kernel<ADD, T><<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(
          in, more, places, weight, r, d, static_cast<float>(eps), sum, out, rho);
    }
  });
  check_launch(op);
}

// ddelta: with ADD only, and there optional.
template <bool ADD>
void run_rms_backward(const char* op, const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& order,
                      const Tensor& w, const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& ddelta,
                      const Tensor& dw) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0 || (dx_mode == GradMode::kSkip && !dw.defined())) return;
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dy);
    const T* const in = data<T>(x);
    const float* const weight = data<float>(w);
    const float* const rho = data<float>(rstd);
    T* const to = dx_mode != GradMode::kSkip ? data<T>(dx) : nullptr;
    T* const too = ddelta.defined() ? data<T>(ddelta) : nullptr;
    const LayerOrder places = layer_order(order);
    const auto partials = [&](const RowChunks& chunks) {
      return dw.defined() ? Tensor::empty(stream, {g, chunks.count, d}, DType::kF32) : Tensor{};
    };
    const auto add = [&](const Tensor& partial, const RowChunks& chunks) {
      if (dw.defined()) add_partials(stream, data<float>(partial), g, chunks.count, d, data<float>(dw));
    };
    const std::int64_t packs = d % kVec<T> == 0 && aligned(grad, in, weight, to, too) ? d / kVec<T> : 0;
    const bool tiled = dispatch_tile<8>(packs, [&]<int LANES, int PACKS>() {
      const RowChunks chunks = tile_chunks<LANES, PACKS>(g, r);
      const Tensor partial = partials(chunks);
      rms_backward_kernel<ADD, T, LANES, PACKS><<<row_grid(chunks.count, g), kTileThreads<LANES>, 0, native(stream)>>>(
          grad, in, places, weight, rho, r, chunks.rows, static_cast<int>(packs), to, dx_mode, too,
          partial.defined() ? data<float>(partial) : nullptr);
      add(partial, chunks);
    });
    if (tiled) return;
    // dx may be dy, so dw comes first.
    if (dw.defined()) {
      const RowChunks chunks = plain_chunks(g, r, d);
      const Tensor partial = partials(chunks);
      plain_rms_weight_kernel<ADD, T><<<column_grid(chunks, g, d), kPlainThreads, 0, native(stream)>>>(
          grad, in, places, rho, r, chunks.rows, d, data<float>(partial));
      add(partial, chunks);
    }
    if (to != nullptr) {
      plain_rms_input_kernel<ADD, T>
          <<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(grad, in, places, weight, rho, r, d, to, dx_mode, too);
    }
  });
  check_launch(op);
}

}  // namespace wt::kernels::cuda
