// What the kernels of Mamba-2's scan share: the arguments on the device, step sizes, and who runs what. Two families do
// the work (equations in kernels/ssd.h):
//   plain    any shape and dtype. Forward row by row, a thread holding a piece of a state's row; backward by chunks.
//   tensor   bf16 on GPUs of compute capability 9.0, by chunks of 64 rows on the tensor cores.
#pragma once

#include "kernels/partials_cuda.cuh"
#include "kernels/ssd.h"

namespace wt::kernels::cuda {

template <class T>
struct Ssd {
  const T* xbc;
  const float *dt, *a_log, *d, *dt_bias;
  const std::int32_t* in_use;  // rows of every cell
  std::int64_t first, cells;   // those at work: a backward pass goes over them in portions
  std::int64_t rows, columns;
  int samples, heads, width, state, groups;
  float least, most;

  __device__ std::int64_t used(std::int64_t cell) const {
    return min(max(std::int64_t{in_use[cell]}, std::int64_t{0}), rows);
  }
  __device__ int layer(std::int64_t cell) const { return static_cast<int>(cell) / samples; }
  __device__ int group(int head) const { return head / (heads / groups); }
  __device__ const T* row(std::int64_t cell, std::int64_t t) const { return xbc + (cell * rows + t) * columns; }
  // Columns of a row.
  __device__ int x_column(int head) const { return head * width; }
  __device__ int b_column(int of_group) const { return heads * width + of_group * state; }
  __device__ int c_column(int of_group) const { return heads * width + (groups + of_group) * state; }
  // First element of a state, and of a head's row of y.
  __device__ std::int64_t state_place(std::int64_t cell, int head) const {
    return (cell * heads + head) * width * state;
  }
  __device__ std::int64_t y_place(std::int64_t cell, std::int64_t t, int head) const {
    return ((cell * rows + t) * heads + head) * width;
  }
  __device__ std::int64_t dt_place(std::int64_t cell, std::int64_t t, int head) const {
    return (cell * rows + t) * heads + head;
  }
};

template <class T>
Ssd<T> ssd_arguments(const Tensor& xbc, const Tensor& dt, const SsdWeights& weights, const SsdShape& shape,
                     const Cells& cells) {
  Ssd<T> a{};
  a.xbc = data<T>(xbc);
  a.dt = data<float>(dt);
  a.a_log = data<float>(weights.a_log);
  a.d = data<float>(weights.d);
  a.dt_bias = data<float>(weights.dt_bias);
  a.in_use = cells.rows.data<std::int32_t>();
  a.cells = xbc.dim(0) * xbc.dim(1);
  a.samples = static_cast<int>(xbc.dim(1));
  a.rows = xbc.dim(2);
  a.columns = xbc.dim(3);
  a.heads = static_cast<int>(shape.heads);
  a.width = static_cast<int>(shape.width);
  a.state = static_cast<int>(shape.state);
  a.groups = static_cast<int>(shape.groups);
  a.least = static_cast<float>(shape.least);
  a.most = static_cast<float>(shape.most);
  return a;
}

// δ of a row, and what its gradient needs: dδ/d dt is σ(v) where the limits let it through, else 0.
struct StepSize {
  float delta, slope;
};
__device__ inline StepSize step_size(float v, float least, float most) {
  const float softplus = fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v)));
  const bool free = softplus >= least && softplus <= most;
  return {fminf(fmaxf(softplus, least), most), free ? 1.0f / (1.0f + expf(-v)) : 0.0f};
}

// The gradients of the weights: every chunk of every sample sums its rows, and the chunks are added in order.
class ChunkSums {
 public:
  ChunkSums(const Stream& stream, const SsdWeights& to, std::int64_t layers, std::int64_t chunks, std::int64_t heads)
      : to_(to), layers_(layers), chunks_(chunks), heads_(heads) {
    const auto sums = [&](const Tensor& wanted) {
      return wanted.defined() ? Tensor::empty(stream, {layers, chunks, heads}, DType::kF32) : Tensor{};
    };
    sums_ = {sums(to.a_log), sums(to.d), sums(to.dt_bias)};
  }
  // Where chunks write, (layers, samples, chunks, heads); null: not wanted.
  float* a_log() const { return start(sums_.a_log); }
  float* d() const { return start(sums_.d); }
  float* dt_bias() const { return start(sums_.dt_bias); }
  void add(const Stream& stream) const {
    if (chunks_ == 0) return;
    const auto add = [&](const Tensor& sums, const Tensor& to) {
      if (to.defined()) add_partials(stream, data<float>(sums), layers_, chunks_, heads_, data<float>(to));
    };
    add(sums_.a_log, to_.a_log);
    add(sums_.d, to_.d);
    add(sums_.dt_bias, to_.dt_bias);
  }

 private:
  static float* start(const Tensor& sums) { return sums.defined() ? data<float>(sums) : nullptr; }
  SsdWeights to_, sums_;
  std::int64_t layers_, chunks_, heads_;
};

// The tensor family. False, and nothing done, where the shape, the GPU or the alignment is not for it.
bool tensor_ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                        const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y,
                        const Tensor& s_out);

bool tensor_ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                         const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                         const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                         const Tensor& ds);

// The scan with the convolution of x, of four taps, in it (kernels/mamba2_fused.h): x = columns [column, …) of a matrix
// (G, B, T, W), bc_GBT(2RN) after the convolution; w, bias and tail have x's channels first, and tail_out gets only
// these. For what tensor_ssd_fits() says of x and bc.
void tensor_conv_scan(const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w, const Tensor& bias,
                      const Tensor& tail, const Tensor& bc, const Tensor& dt, const SsdWeights& weights,
                      const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y,
                      const Tensor& tail_out, const Tensor& s_out);

// The plain family's backward pass.
void plain_ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                        const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                        const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                        const Tensor& ds);

}  // namespace wt::kernels::cuda
