#include "kernels/norm_cuda.cuh"
#include "kernels/rms_norm.h"

namespace wt::kernels::cuda {
namespace {

template <class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>)
    forward_kernel(const T* x, const float* __restrict__ w, std::int64_t rows, int packs, float eps, T* y,
                   float* __restrict__ rstd) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t row = std::int64_t{blockIdx.x} * kTileRows<LANES> + threadIdx.x / LANES;
  const std::int64_t at = blockIdx.y * rows + row;
  const int held = row < rows ? packs : 0;
  const std::int64_t width = std::int64_t{packs} * N;

  Packed<T, N> in[PACKS];
  load_row<LANES>(x + at * width, lane, held, in);
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
    store_packed<N>(y + at * width + p * N, Packed<T, N>::pack(v));
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_forward_kernel(const T* x, const float* __restrict__ w, std::int64_t rows, std::int64_t width, float eps,
                         T* y, float* __restrict__ rstd) {
  __shared__ float scratch[kPlainThreads / 32];
  const std::int64_t at = blockIdx.y * rows + blockIdx.x;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float v = to_float(x[at * width + i]);
    squares += v * v;
  }
  const float rho = 1.0f / sqrtf(block_sum<kPlainThreads>(squares, scratch) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) rstd[at] = rho;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    y[at * width + i] = from_float<T>(to_float(x[at * width + i]) * (rho * w[blockIdx.y * width + i]));
  }
}

// One chunk of rows per block. `partial` (null: not wanted) gets the chunk's Σ dy∘x ρ.
template <class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>, (kTileBlocks<LANES, PACKS>))
    backward_kernel(const T* dy, const T* x, const float* __restrict__ w, const float* __restrict__ rstd,
                    std::int64_t rows, std::int64_t chunk, int packs, T* dx, GradMode mode,
                    float* __restrict__ partial) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[2][kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t width = std::int64_t{packs} * N;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  w += blockIdx.y * width;

  float dw[PACKS][N] = {};
  int turn = 0;
  // All threads take every turn: the sums over a row are made together.
  for (std::int64_t first = begin; first < end; first += kTileRows<LANES>, turn ^= 1) {
    const std::int64_t row = first + threadIdx.x / LANES;
    const std::int64_t at = blockIdx.y * rows + row;
    const int held = row < end ? packs : 0;
    const float rho = held > 0 ? rstd[at] : 0.0f;
    Packed<T, N> grad[PACKS], in[PACKS];
    load_row<LANES>(dy + at * width, lane, held, grad);
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
      store_packed<N>(to, Packed<T, N>::pack(g));
    }
  }
  if (partial != nullptr) {
    store_column_sums<T, LANES>(dw, lane, packs, partial + (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_input_kernel(const T* dy, const T* x, const float* __restrict__ w, const float* __restrict__ rstd,
                       std::int64_t rows, std::int64_t width, T* dx, GradMode mode) {
  __shared__ float scratch[kPlainThreads / 32];
  const std::int64_t at = blockIdx.y * rows + blockIdx.x;
  w += blockIdx.y * width;
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    dot += w[i] * to_float(dy[at * width + i]) * to_float(x[at * width + i]);
  }
  const float rho = rstd[at];
  const float mean = block_sum<kPlainThreads>(dot, scratch) / static_cast<float>(width) * rho * rho;
  for (std::int64_t i = threadIdx.x; i < width; i += kPlainThreads) {
    const float before = mode == GradMode::kAccumulate ? to_float(dx[at * width + i]) : 0.0f;
    const float value = w[i] * to_float(dy[at * width + i]) - to_float(x[at * width + i]) * mean;
    dx[at * width + i] = from_float<T>(before + rho * value);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_weight_kernel(const T* dy, const T* x, const float* __restrict__ rstd, std::int64_t rows, std::int64_t chunk,
                        std::int64_t width, float* partial) {
  const std::int64_t column = std::int64_t{blockIdx.z} * kPlainThreads + threadIdx.x;
  if (column >= width) return;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, rows);
  float sum = 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = blockIdx.y * rows + row;
    sum += to_float(dy[at * width + column]) * to_float(x[at * width + column]) * rstd[at];
  }
  partial[(std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * width + column] = sum;
}

}  // namespace

void rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0) return;
  dispatch_float("rms_norm", x.dtype(), [&]<class T>() {
    const T* const in = data<T>(x);
    const float* const weight = data<float>(w);
    T* const out = data<T>(y);
    float* const rho = data<float>(rstd);
    const std::int64_t packs = d % kVec<T> == 0 && aligned(in, weight, out) ? d / kVec<T> : 0;
    const bool tiled = dispatch_tile<8>(packs, [&]<int LANES, int PACKS>() {
      forward_kernel<T, LANES, PACKS>
          <<<row_grid(ceil_div(r, kTileRows<LANES>), g), kTileThreads<LANES>, 0, native(stream)>>>(
              in, weight, r, static_cast<int>(packs), static_cast<float>(eps), out, rho);
    });
    if (!tiled) {
      plain_forward_kernel<T>
          <<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(in, weight, r, d, static_cast<float>(eps), out, rho);
    }
  });
  check_launch("rms_norm");
}

void rms_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  if (x.numel() == 0 || (dx_mode == GradMode::kSkip && !dw.defined())) return;
  dispatch_float("rms_norm backward", x.dtype(), [&]<class T>() {
    const T* const grad = data<T>(dy);
    const T* const in = data<T>(x);
    const float* const weight = data<float>(w);
    const float* const rho = data<float>(rstd);
    T* const to = dx_mode != GradMode::kSkip ? data<T>(dx) : nullptr;
    const auto partials = [&](const RowChunks& chunks) {
      return dw.defined() ? Tensor::empty(stream, {g, chunks.count, d}, DType::kF32) : Tensor{};
    };
    const auto add = [&](const Tensor& partial, const RowChunks& chunks) {
      if (dw.defined()) add_partials(stream, data<float>(partial), g, chunks.count, d, data<float>(dw));
    };
    const std::int64_t packs = d % kVec<T> == 0 && aligned(grad, in, weight, to) ? d / kVec<T> : 0;
    const bool tiled = dispatch_tile<8>(packs, [&]<int LANES, int PACKS>() {
      const RowChunks chunks = tile_chunks<LANES, PACKS>(g, r);
      const Tensor partial = partials(chunks);
      backward_kernel<T, LANES, PACKS><<<row_grid(chunks.count, g), kTileThreads<LANES>, 0, native(stream)>>>(
          grad, in, weight, rho, r, chunks.rows, static_cast<int>(packs), to, dx_mode,
          partial.defined() ? data<float>(partial) : nullptr);
      add(partial, chunks);
    });
    if (tiled) return;
    // dx may be dy, so dw comes first.
    if (dw.defined()) {
      const RowChunks chunks = plain_chunks(g, r, d);
      const Tensor partial = partials(chunks);
      plain_weight_kernel<T><<<column_grid(chunks, g, d), kPlainThreads, 0, native(stream)>>>(
          grad, in, rho, r, chunks.rows, d, data<float>(partial));
      add(partial, chunks);
    }
    if (to != nullptr) {
      plain_input_kernel<T>
          <<<row_grid(r, g), kPlainThreads, 0, native(stream)>>>(grad, in, weight, rho, r, d, to, dx_mode);
    }
  });
  check_launch("rms_norm backward");
}

}  // namespace wt::kernels::cuda
