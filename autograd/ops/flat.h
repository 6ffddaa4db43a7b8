// How linear ops see a tensor of a wave.
#pragma once

#include "core/tensor.h"

namespace wt::ops {

// (G, rows, width) of a tensor over G layers whose last extent is the width.
inline Tensor flat(const Tensor& t, std::int64_t g) {
  const std::int64_t width = t.shape()[-1];
  return t.reshape({g, g * width == 0 ? 0 : t.numel() / (g * width), width});
}

}  // namespace wt::ops
