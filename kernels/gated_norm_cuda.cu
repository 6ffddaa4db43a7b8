#include "kernels/gated_norm.h"
#include "kernels/norm_cuda.cuh"

// A group of channels is a row of its own: with R groups the grid's second extent counts (layer, group), and so do the
// partial sums of the weights' gradient, which lie as (G, R, I/R) = (G, I).
namespace wt::kernels::cuda {
namespace {

struct GatedRows {
  std::int64_t rows;  // B·T
  std::int64_t groups;
  std::int64_t width;   // I/R
  std::int64_t stride;  // W, of the matrix that has z
  __device__ std::int64_t group() const { return blockIdx.y % groups; }
  // First element of a row's group in (G, B, T, I), in the matrix, in w, and its place in rstd.
  __device__ std::int64_t dense(std::int64_t row) const {
    return ((blockIdx.y / groups * rows + row) * groups + group()) * width;
  }
  __device__ std::int64_t in_matrix(std::int64_t row) const {
    return (blockIdx.y / groups * rows + row) * stride + group() * width;
  }
  __device__ std::int64_t weights() const { return blockIdx.y * width; }
  __device__ std::int64_t number(std::int64_t row) const {
    return (blockIdx.y / groups * rows + row) * groups + group();
  }
};

// What is normalised.
template <bool NORM_FIRST>
__device__ float normed_value(float y, float z) {
  return NORM_FIRST ? y : y * (z * sigmoid(z));
}

// Of one element: what it adds to Σ dû û / ρ and, with ρ, to dw; û = ρ u is the normalised value.
struct GateTerms {
  float dot, dw;
};
__device__ GateTerms gate_terms(float dout, float y, float z, float w) {
  const float silu = z * sigmoid(z);
  const float dw = dout * y * silu;
  return {dw * w, dw};
}

// dy and dz of one element, where mean = ρ² mean(dû u).
struct GateGradients {
  float dy, dz;
};
template <bool NORM_FIRST>
__device__ GateGradients gate_gradients(float dout, float y, float z, float w, float rho, float mean) {
  const float s = sigmoid(z), silu = z * s, slope = s * (1 + z * (1 - s)), wanted = dout * w;
  if constexpr (NORM_FIRST) {
    return {rho * (wanted * silu - y * mean), wanted * rho * y * slope};
  } else {
    const float dg = rho * (wanted - y * silu * mean);
    return {dg * silu, dg * y * slope};
  }
}

template <bool NORM_FIRST, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>)
    gated_forward_kernel(const T* y, const T* z, const float* __restrict__ w, GatedRows at, int packs, float eps, T* o,
                         float* __restrict__ rstd) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[kTileThreads<LANES> / 32];
  let_next_begin();
  wait_for_previous();
  const int lane = threadIdx.x % LANES;
  const std::int64_t row = std::int64_t{blockIdx.x} * kTileRows<LANES> + threadIdx.x / LANES;
  const int held = row < at.rows ? packs : 0;
  w += at.weights();

  Packed<T, N> in[PACKS], gate[PACKS];
  load_row<LANES>(y + at.dense(row), lane, held, in);
  load_row<LANES>(z + at.in_matrix(row), lane, held, gate);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    float a[N], b[N];
    in[i].unpack(a);
    gate[i].unpack(b);
#pragma unroll
    for (int e = 0; e < N; ++e) {
      a[e] = normed_value<NORM_FIRST>(a[e], b[e]);
      squares += a[e] * a[e];
    }
  }
  const float rho = 1.0f / sqrtf(row_sum<LANES>(squares, scratch) / static_cast<float>(at.width) + eps);
  if (held > 0 && lane == 0) rstd[at.number(row)] = rho;
#pragma unroll
  for (int i = 0; i < PACKS; ++i) {
    const int p = i * LANES + lane;
    if (p >= held) continue;
    float a[N], b[N], weight[N];
    in[i].unpack(a);
    gate[i].unpack(b);
    load_constant(w + p * N, weight);
#pragma unroll
    for (int e = 0; e < N; ++e) a[e] = normed_value<false>(a[e], b[e]) * (rho * weight[e]);
    store_packed<N>(o + at.dense(row) + p * N, Packed<T, N>::pack(a));
  }
}

template <bool NORM_FIRST, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_gated_forward_kernel(const T* y, const T* z, const float* __restrict__ w, GatedRows at, float eps, T* o,
                               float* __restrict__ rstd) {
  __shared__ float scratch[kPlainThreads / 32];
  let_next_begin();
  wait_for_previous();
  const std::int64_t row = blockIdx.x;
  y += at.dense(row);
  z += at.in_matrix(row);
  w += at.weights();
  o += at.dense(row);
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < at.width; i += kPlainThreads) {
    const float u = normed_value<NORM_FIRST>(to_float(y[i]), to_float(z[i]));
    squares += u * u;
  }
  const float rho = 1.0f / sqrtf(block_sum<kPlainThreads>(squares, scratch) / static_cast<float>(at.width) + eps);
  if (threadIdx.x == 0) rstd[at.number(row)] = rho;
  for (std::int64_t i = threadIdx.x; i < at.width; i += kPlainThreads) {
    o[i] = from_float<T>(normed_value<false>(to_float(y[i]), to_float(z[i])) * (rho * w[i]));
  }
}

// Three rows are held at once, one more than in the other norms.
template <int LANES, int PACKS>
inline constexpr int kGateBlocks = std::max(1, kTileBlocks<LANES, PACKS> * 3 / 4);

// One chunk of rows per block. `partial` (null: not wanted) gets the chunk's column sums.
template <bool NORM_FIRST, class T, int LANES, int PACKS>
__global__ void __launch_bounds__(kTileThreads<LANES>, (kGateBlocks<LANES, PACKS>))
    gated_backward_kernel(const T* dout, const T* y, const T* z, const float* __restrict__ w,
                          const float* __restrict__ rstd, GatedRows at, std::int64_t chunk, int packs, T* dy, T* dz,
                          float* __restrict__ partial) {
  constexpr int N = kVec<T>;
  __shared__ float scratch[2][kTileThreads<LANES> / 32];
  const int lane = threadIdx.x % LANES;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, at.rows);
  w += at.weights();

  float dw[PACKS][N] = {};
  int turn = 0;
  // All threads take every turn: the sums over a row are made together.
  for (std::int64_t first = begin; first < end; first += kTileRows<LANES>, turn ^= 1) {
    const std::int64_t row = first + threadIdx.x / LANES;
    const int held = row < end ? packs : 0;
    const float rho = held > 0 ? rstd[at.number(row)] : 0.0f;
    Packed<T, N> grad[PACKS], in[PACKS], gate[PACKS];
    load_row<LANES>(dout + at.dense(row), lane, held, grad);
    load_row<LANES>(y + at.dense(row), lane, held, in);
    load_row<LANES>(z + at.in_matrix(row), lane, held, gate);
    float dot = 0;
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      const int p = i * LANES + lane;
      if (p >= held) continue;
      float d[N], a[N], b[N], weight[N];
      grad[i].unpack(d);
      in[i].unpack(a);
      gate[i].unpack(b);
      load_constant(w + p * N, weight);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const GateTerms terms = gate_terms(d[e], a[e], b[e], weight[e]);
        dot += terms.dot;
        dw[i][e] += terms.dw * rho;
      }
    }
    const float mean = row_sum<LANES>(dot, scratch[turn]) / static_cast<float>(at.width) * rho * rho;
#pragma unroll
    for (int i = 0; i < PACKS; ++i) {
      const int p = i * LANES + lane;
      if (p >= held) continue;
      float d[N], a[N], b[N], weight[N];
      grad[i].unpack(d);
      in[i].unpack(a);
      gate[i].unpack(b);
      load_constant(w + p * N, weight);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const GateGradients of = gate_gradients<NORM_FIRST>(d[e], a[e], b[e], weight[e], rho, mean);
        d[e] = of.dy;
        b[e] = of.dz;
      }
      store_packed<N>(dy + at.dense(row) + p * N, Packed<T, N>::pack(d));
      store_packed<N>(dz + at.in_matrix(row) + p * N, Packed<T, N>::pack(b));
    }
  }
  if (partial != nullptr) {
    store_column_sums<T, LANES>(dw, lane, packs,
                                partial + (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * at.width);
  }
}

template <bool NORM_FIRST, class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_gated_backward_kernel(const T* dout, const T* y, const T* z, const float* __restrict__ w,
                                const float* __restrict__ rstd, GatedRows at, T* dy, T* dz) {
  __shared__ float scratch[kPlainThreads / 32];
  const std::int64_t row = blockIdx.x, dense = at.dense(row), in_matrix = at.in_matrix(row);
  w += at.weights();
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < at.width; i += kPlainThreads) {
    dot += gate_terms(to_float(dout[dense + i]), to_float(y[dense + i]), to_float(z[in_matrix + i]), w[i]).dot;
  }
  const float rho = rstd[at.number(row)];
  const float mean = block_sum<kPlainThreads>(dot, scratch) / static_cast<float>(at.width) * rho * rho;
  for (std::int64_t i = threadIdx.x; i < at.width; i += kPlainThreads) {
    const GateGradients of = gate_gradients<NORM_FIRST>(to_float(dout[dense + i]), to_float(y[dense + i]),
                                                        to_float(z[in_matrix + i]), w[i], rho, mean);
    dy[dense + i] = from_float<T>(of.dy);
    dz[in_matrix + i] = from_float<T>(of.dz);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads)
    plain_gated_weight_kernel(const T* dout, const T* y, const T* z, const float* __restrict__ rstd, GatedRows at,
                              std::int64_t chunk, float* partial) {
  const std::int64_t column = std::int64_t{blockIdx.z} * kPlainThreads + threadIdx.x;
  if (column >= at.width) return;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, at.rows);
  float sum = 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t i = at.dense(row) + column;
    sum += gate_terms(to_float(dout[i]), to_float(y[i]), to_float(z[at.in_matrix(row) + column]), 0).dw *
           rstd[at.number(row)];
  }
  partial[(std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * at.width + column] = sum;
}

GatedRows gated_rows(const Tensor& y, const Tensor& z, const GatedNorm& norm) {
  return {y.dim(1) * y.dim(2), norm.groups, y.dim(3) / norm.groups, z.dim(3)};
}

// Accesses of 16 bytes in a group's row; 0 where it does not fit them.
template <class T, class... P>
std::int64_t packs_of(const GatedRows& at, const P*... pointers) {
  const bool fits = at.width % kVec<T> == 0 && at.stride % kVec<T> == 0 && aligned(pointers...);
  return fits ? at.width / kVec<T> : 0;
}

template <class F>
void dispatch_order(bool norm_first, F&& f) {
  if (norm_first) {
    f.template operator()<true>();
  } else {
    f.template operator()<false>();
  }
}

}  // namespace

void gated_norm_forward(const Stream& stream, const Tensor& y, const Tensor& z, const Tensor& w, const GatedNorm& norm,
                        const Tensor& o, const Tensor& rstd) {
  const char* op = "gated_norm";
  if (y.numel() == 0) return;
  const GatedRows at = gated_rows(y, z, norm);
  const std::int64_t layers = y.dim(0) * norm.groups;
  const auto eps = static_cast<float>(norm.eps);
  dispatch_float(op, y.dtype(), [&]<class T>() {
    const T *const in = data<T>(y), *const gate = data<T>(z);
    const float* const weight = data<float>(w);
    T* const out = data<T>(o);
    float* const rho = data<float>(rstd);
    const std::int64_t packs = packs_of<T>(at, in, gate, weight, out);
    dispatch_order(norm.norm_first, [&]<bool NORM_FIRST>() {
      const bool tiled = dispatch_tile<4>(packs, [&]<int LANES, int PACKS>() {
        launch_early(op, gated_forward_kernel<NORM_FIRST, T, LANES, PACKS>,
                     row_grid(ceil_div(at.rows, kTileRows<LANES>), layers), kTileThreads<LANES>, 0, stream, in, gate,
                     weight, at, static_cast<int>(packs), eps, out, rho);
      });
      if (!tiled) {
        launch_early(op, plain_gated_forward_kernel<NORM_FIRST, T>, row_grid(at.rows, layers), kPlainThreads, 0, stream,
                     in, gate, weight, at, eps, out, rho);
      }
    });
  });
}

void gated_norm_backward(const Stream& stream, const Tensor& dout, const Tensor& y, const Tensor& z, const Tensor& w,
                         const Tensor& rstd, const GatedNorm& norm, const Tensor& dy, const Tensor& dz,
                         const Tensor& dw) {
  const char* op = "gated_norm backward";
  if (y.numel() == 0) return;
  const GatedRows at = gated_rows(y, z, norm);
  const std::int64_t layers = y.dim(0) * norm.groups;
  dispatch_float(op, y.dtype(), [&]<class T>() {
    const T *const grad = data<T>(dout), *const in = data<T>(y), *const gate = data<T>(z);
    const float *const weight = data<float>(w), *const rho = data<float>(rstd);
    T *const to = data<T>(dy), *const to_gate = data<T>(dz);
    const auto partials = [&](const RowChunks& chunks) {
      return dw.defined() ? Tensor::empty(stream, {layers, chunks.count, at.width}, DType::kF32) : Tensor{};
    };
    const auto add = [&](const Tensor& partial, const RowChunks& chunks) {
      if (dw.defined()) add_partials(stream, data<float>(partial), layers, chunks.count, at.width, data<float>(dw));
    };
    const std::int64_t packs = packs_of<T>(at, grad, in, gate, weight, to, to_gate);
    dispatch_order(norm.norm_first, [&]<bool NORM_FIRST>() {
      const bool tiled = dispatch_tile<4>(packs, [&]<int LANES, int PACKS>() {
        const RowChunks chunks = row_chunks(layers, at.rows, kTileRows<LANES>, kProcessors * kGateBlocks<LANES, PACKS>);
        const Tensor partial = partials(chunks);
        gated_backward_kernel<NORM_FIRST, T, LANES, PACKS>
            <<<row_grid(chunks.count, layers), kTileThreads<LANES>, 0, native(stream)>>>(
                grad, in, gate, weight, rho, at, chunks.rows, static_cast<int>(packs), to, to_gate,
                partial.defined() ? data<float>(partial) : nullptr);
        add(partial, chunks);
      });
      if (tiled) return;
      // dy may be dout, so dw comes first.
      if (dw.defined()) {
        const RowChunks chunks = plain_chunks(layers, at.rows, at.width);
        const Tensor partial = partials(chunks);
        plain_gated_weight_kernel<T><<<column_grid(chunks, layers, at.width), kPlainThreads, 0, native(stream)>>>(
            grad, in, gate, rho, at, chunks.rows, data<float>(partial));
        add(partial, chunks);
      }
      plain_gated_backward_kernel<NORM_FIRST, T><<<row_grid(at.rows, layers), kPlainThreads, 0, native(stream)>>>(
          grad, in, gate, weight, rho, at, to, to_gate);
    });
  });
  check_launch(op);
}

}  // namespace wt::kernels::cuda
