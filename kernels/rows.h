// Moving chosen rows. One that a tensor does not have is an Error, on CUDA at the stream's next wait (core/cuda.h).
// Legend: C cells (layers × samples), T rows of a cell, D width, M rows taken, R rows of a list.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

struct TakenExtents {
  std::int64_t c, t, d, m;
};
inline TakenExtents taken_extents(const Tensor& x, const Tensor& first, const Tensor& out) {
  return {first.numel(), x.shape()[-2], x.shape()[-1], out.shape()[-2]};
}

// out_CMD[c, i] = x_CTD[c, first_C[c] + i]: the memory rows of each cell's segment. first + M <= T.
void take_rows_forward(const Stream& stream, const Tensor& x, const Tensor& first, const Tensor& out);
// dx_CTD[c, first[c] + i] += dout[c, i]. With kOverwrite all other rows become zero.
void take_rows_backward(const Stream& stream, const Tensor& dout, const Tensor& first, const Tensor& dx, GradMode mode);

// out_RD[i] = x_..D[index_R[i]], x seen as a list of rows.
void gather_rows(const Stream& stream, const Tensor& x, const Tensor& index, const Tensor& out);
// x_..D[index_R[i]] += values_RD[i]; the indices are distinct.
void scatter_add_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x);

// x_..D[index_R[i]] = values_RD[i]; the indices are distinct.
void put_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x);

// y += x, elementwise, equal shapes.
void add(const Stream& stream, const Tensor& x, const Tensor& y);

// y *= factor, elementwise; in bf16 multiplied in f32 and rounded once.
void scale(const Stream& stream, double factor, const Tensor& y);

}  // namespace wt::kernels
