// What the kernels of linear layers, norms and the memory demand of their arguments, checked once for both backends
// before one is chosen. Throws Error with the op, the tensor and the expected shape.
#pragma once

#include "core/host_device.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/memory.h"
#include "kernels/rms_norm.h"

namespace wt::kernels {

struct LinearExtents {
  std::int64_t g, r, i, o;
};
inline LinearExtents linear_extents(const Tensor& x, const Tensor& y) {
  return {x.dim(0), x.dim(1), x.dim(2), y.dim(2)};
}

struct MemoryExtents {
  std::int64_t g, b, t, d, p;
  WT_HOST_DEVICE std::int64_t cells() const { return g * b; }
  WT_HOST_DEVICE std::int64_t rows() const { return g * b * t; }
};
inline MemoryExtents memory_extents(const Tensor& features, const Tensor& a) {
  return {features.dim(0), features.dim(1), features.dim(2), a.dim(3), features.dim(3)};
}

// x and y stand for their gradients, too.
void check_linear(const char* op, const Tensor& x, const Tensor& y, const Tensor& w, WeightLayout layout);
void check_linear_forward(const Tensor& x, const Tensor& y, const Tensor& w, WeightLayout layout, const Tensor& bias,
                          const Tensor& residual);

// Cells that have an entry of their own to begin at (kernels/rotary.h): B or G·B, 0 where `first` is undefined.
std::int64_t rotary_cells(const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first);

void check_rms_norm_forward(const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& rstd);
void check_rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& dx,
                             GradMode dx_mode, const Tensor& dw);
void check_layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y, const Tensor& mean,
                              const Tensor& rstd);
void check_layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                               const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw,
                               const Tensor& db);

void check_memory_read_forward(const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z, const Cells& cells,
                               const Tensor& y, const Tensor& den);
void check_memory_read_backward(const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                                const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da,
                                const Tensor& dz, GradMode state_mode);
void check_memory_write_forward(const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a, const Tensor& z,
                                const Cells& cells, const Tensor& a_out, const Tensor& z_out, const MemoryWrite& saved);
void check_memory_write_backward(const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                                 const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                                 const Tensor& dk, const Tensor& dv, const Tensor& db);

}  // namespace wt::kernels
