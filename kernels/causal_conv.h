// Causal depthwise convolution along a text, then SiLU. Source: Dao and Gu, "Transformers are SSMs" (arXiv 2405.21060),
// whose mixer has it in front of its scan.
//   full = [tail; x],   y_t = silu(bias + Σ_{k<K} w_k ∘ full_{t+k})        w_{K-1} meets row t itself
// The input is a block of columns of a wider matrix, whose other columns are neither read nor written.
// Legend: G layers, B samples, T rows, E channels, K >= 2 rows that a channel sees, W columns of the matrix.
#pragma once

#include "core/tensor.h"
#include "kernels/cells.h"

namespace wt::kernels {

// x = columns [column, column + E) of x_GBTW; w_GEK, bias_GE (may be undefined), tail_GBKE with K-1 for K: the rows
// before the segment, oldest first -> y_GBTE, and tail_out: the last K-1 of [tail; the rows in use], a shift where
// those are fewer. tail_out may be the tail's memory. Rows beyond cells.rows get values that mean nothing. x, y and
// tails of one dtype; bias, and on CUDA w, may be wider.
void causal_conv_forward(const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w,
                         const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& y,
                         const Tensor& tail_out);

// dy_GBTE, and dtail_out or undefined for none -> the block of columns of dx_GBTW (overwritten; zero beyond
// cells.rows), dw_GEK += and dbias_GE += (both wide; undefined: frozen), dtail (overwritten; may be dtail_out's memory;
// undefined: not wanted). dy beyond cells.rows is not read.
void causal_conv_backward(const Stream& stream, const Tensor& dy, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& dtail_out,
                          const Tensor& dx, const Tensor& dw, const Tensor& dbias, const Tensor& dtail);

}  // namespace wt::kernels
