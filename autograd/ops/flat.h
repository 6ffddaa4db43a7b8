// How linear ops see a tensor of a wave.
#pragma once

#include "core/tensor.h"
#include "kernels/cast.h"

namespace wt::ops {

// (G, rows, width) of a tensor over G layers whose last extent is the width.
inline Tensor flat(const Tensor& t, std::int64_t g) {
  const std::int64_t width = t.shape()[-1];
  return t.reshape({g, g * width == 0 ? 0 : t.numel() / (g * width), width});
}

// In this dtype: the gradient of a wide output, for products of narrow operands.
inline Tensor narrowed(const Stream& stream, const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  const Tensor narrow = Tensor::empty(stream, t.shape(), dtype);
  kernels::cast(stream, t, narrow);
  return narrow;
}

}  // namespace wt::ops
