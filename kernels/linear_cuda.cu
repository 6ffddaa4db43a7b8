#include "kernels/cuda_common.cuh"
#include "kernels/gemm_cuda.h"
#include "kernels/linear_fused.h"

namespace wt::kernels::cuda {
namespace {

Matrix rows_of(const Tensor& t, bool transposed = false) {
  return {t.raw(), t.dtype(), t.dim(2), t.dim(1) * t.dim(2), transposed};
}

// A weight, or those of its outputs that are computed (kernels/linear.h).
Matrix weight_of(const Tensor& w, std::int64_t first, bool transposed = false) {
  Matrix matrix = rows_of(w, transposed);
  if (first != kAllOutputs) {
    matrix.data = static_cast<char*>(matrix.data) + first * w.dim(2) * static_cast<std::int64_t>(size_of(w.dtype()));
  }
  return matrix;
}

// y = bias [+ residual] in each row, for the product to be added to.
template <class T, class Y>
__global__ void prefill_kernel(const float* bias, const T* residual, Y* y, std::int64_t count, std::int64_t rows,
                               std::int64_t width) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const std::int64_t row = at / width, col = at % width;
  const float value = bias[row / rows * width + col];
  y[at] = from_float<Y>(residual == nullptr ? value : value + to_float(residual[at]));
}

// Column sums over R rows, cut into chunks of this many rows: partial sums first, then the chunks in order.
constexpr int kChunkRows = 256;

template <class T>
__global__ void column_sums_kernel(const T* dy, float* partial, std::int64_t rows, std::int64_t width,
                                   std::int64_t chunks) {
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t chunk = blockIdx.y, layer = blockIdx.z;
  if (col >= width) return;
  const std::int64_t first = chunk * kChunkRows, last = min(first + kChunkRows, rows);
  float sum = 0;
  for (std::int64_t row = first; row < last; ++row) sum += to_float(dy[(layer * rows + row) * width + col]);
  partial[(layer * chunks + chunk) * width + col] = sum;
}

__global__ void add_chunks_kernel(const float* partial, float* out, std::int64_t width, std::int64_t chunks) {
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t layer = blockIdx.y;
  if (col >= width) return;
  float sum = 0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[(layer * chunks + chunk) * width + col];
  out[layer * width + col] += sum;
}

constexpr int kThreads = 256;

}  // namespace

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const Tensor& bias,
                    const Tensor& residual, const Tensor& y, bool constant_weight, std::int64_t first) {
  const LinearExtents e = linear_extents(x, y);
  if (y.numel() == 0) return;
  if (first != kAllOutputs && e.g == 1) {  // lie together
    const Tensor part = w.select(0).slice(first, first + e.o).reshape({1, e.o, e.i});
    return cuda::linear_forward(stream, x, part, layout, bias, residual, y, constant_weight, kAllOutputs);
  }
  const FusedLinear parts{.bias = bias, .residual = residual, .constant_weight = constant_weight};
  if (layout == WeightLayout::kOutIn && first == kAllOutputs && linear_few_rows(stream, x, w, parts, y)) return;
  Tensor added = residual;  // what the product is added to
  if (bias.defined()) {
    dispatch_float("linear", x.dtype(), [&]<class T>() {
      const auto blocks = grid_size(ceil_div(y.numel(), kThreads));
      const auto* from = residual.defined() ? residual.raw() : nullptr;
      if (y.dtype() == x.dtype()) {
        prefill_kernel<<<blocks, kThreads, 0, native(stream)>>>(data<float>(bias), static_cast<const T*>(from),
                                                                data<T>(y), y.numel(), e.r, e.o);
      } else {
        prefill_kernel<<<blocks, kThreads, 0, native(stream)>>>(data<float>(bias), static_cast<const float*>(from),
                                                                data<float>(y), y.numel(), e.r, e.o);
      }
      check_launch("linear");
    });
    added = y;
  }
  gemm(stream, e.g, e.r, e.o, e.i, 1, rows_of(x), weight_of(w, first, layout == WeightLayout::kOutIn),
       added.defined() ? 1 : 0, rows_of(added.defined() ? added : y), rows_of(y));
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, WeightLayout layout,
                           const Tensor& dx, GradMode mode, std::int64_t first) {
  const LinearExtents e = linear_extents(dx, dy);
  gemm(stream, e.g, e.r, e.i, e.o, 1, rows_of(dy), weight_of(w, first, layout == WeightLayout::kInOut),
       mode == GradMode::kAccumulate ? 1.0f : 0.0f, rows_of(dx), rows_of(dx));
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, WeightLayout layout,
                            const Tensor& dw, std::int64_t first) {
  const LinearExtents e = linear_extents(x, dy);
  if (e.r == 0) return;
  if (layout == WeightLayout::kOutIn) {
    gemm(stream, e.g, e.o, e.i, e.r, 1, rows_of(dy, true), rows_of(x), 1, weight_of(dw, first), weight_of(dw, first));
  } else {
    gemm(stream, e.g, e.i, e.o, e.r, 1, rows_of(x, true), rows_of(dy), 1, rows_of(dw), rows_of(dw));
  }
}

void linear_backward_bias(const Stream& stream, const Tensor& dy, const Tensor& dbias) {
  const std::int64_t g = dy.dim(0), r = dy.dim(1), o = dy.dim(2);
  if (dy.numel() == 0) return;
  const std::int64_t chunks = ceil_div(r, kChunkRows);
  const Tensor partial = Tensor::empty(stream, {g, chunks, o}, DType::kF32);
  const auto columns = grid_size(ceil_div(o, kThreads));
  dispatch_float("linear backward", dy.dtype(), [&]<class T>() {
    const dim3 grid(columns, grid_size(chunks), grid_size(g));
    column_sums_kernel<<<grid, kThreads, 0, native(stream)>>>(data<T>(dy), data<float>(partial), r, o, chunks);
    check_launch("linear backward");
  });
  add_chunks_kernel<<<dim3(columns, grid_size(g)), kThreads, 0, native(stream)>>>(data<float>(partial),
                                                                                  data<float>(dbias), o, chunks);
  check_launch("linear backward");
}

}  // namespace wt::kernels::cuda
