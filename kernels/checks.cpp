#include "kernels/checks.h"

namespace wt::kernels {
namespace {

void check_state(const char* op, const Tensor& features, const Tensor& a, const Tensor& z, const Cells& cells) {
  WT_CHECK(features.shape().rank() == 4 && a.shape().rank() == 4, op, ": features are ", features, ", A is ", a);
  const MemoryExtents e = memory_extents(features, a);
  WT_CHECK_SHAPE(op, a, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE(op, z, e.g, e.b, e.p);
  WT_CHECK_SHAPE(op, cells.flags, e.g, e.b);
  WT_CHECK_SHAPE(op, cells.rows, e.g, e.b);
}

}  // namespace

void check_linear(const char* op, const Tensor& x, const Tensor& y, const Tensor& w, WeightLayout layout) {
  WT_CHECK(x.shape().rank() == 3 && y.shape().rank() == 3, op, ": x is ", x, " and y ", y, ", expected three extents");
  const LinearExtents e = linear_extents(x, y);
  WT_CHECK_SHAPE(op, y, e.g, e.r, e.o);
  if (layout == WeightLayout::kOutIn) {
    WT_CHECK_SHAPE(op, w, e.g, e.o, e.i);
  } else {
    WT_CHECK_SHAPE(op, w, e.g, e.i, e.o);
  }
  // CUDA's products take bf16 into f32.
  WT_CHECK(x.device().is_cuda() || (x.dtype() == y.dtype() && x.dtype() == w.dtype()), op, ": dtypes differ: x ", x,
           ", w ", w, ", y ", y);
}

void check_linear_forward(const Tensor& x, const Tensor& y, const Tensor& w, WeightLayout layout, const Tensor& bias,
                          const Tensor& residual) {
  check_linear("linear", x, y, w, layout);
  const LinearExtents e = linear_extents(x, y);
  if (bias.defined()) WT_CHECK_SHAPE("linear", bias, e.g, e.o);
  if (residual.defined()) WT_CHECK_SHAPE("linear", residual, e.g, e.r, e.o);
  WT_CHECK(!residual.defined() || residual.dtype() == y.dtype(), "linear: the residual is ", residual, ", y ", y);
}

std::int64_t rotary_cells(const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), k = cos_sin.dim(1);
  WT_CHECK(k % 2 == 0 && heads * k <= w, "rotary: ", heads, " heads of width ", k, " in rows of ", w);
  if (!first.defined()) {
    WT_CHECK(t <= cos_sin.dim(0), "rotary: position ", t - 1, " is beyond the table of ", cos_sin.dim(0));
    return 0;
  }
  const bool by_layer = first.shape().rank() == 2;
  WT_CHECK(by_layer ? first.shape() == (Shape{g, b}) : first.shape() == (Shape{b}), "rotary: first is ", first,
           ", expected [B=", b, "] or [G=", g, ", B=", b, "]");
  return first.numel();
}

void check_rms_norm_forward(const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("rms_norm", w, g, d);
  WT_CHECK_SHAPE("rms_norm", y, g, r, d);
  WT_CHECK_SHAPE("rms_norm", rstd, g, r);
}

void check_rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& dx,
                             GradMode dx_mode, const Tensor& dw) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("rms_norm backward", dy, g, r, d);
  WT_CHECK_SHAPE("rms_norm backward", w, g, d);
  WT_CHECK_SHAPE("rms_norm backward", rstd, g, r);
  if (dx_mode != GradMode::kSkip) WT_CHECK_SHAPE("rms_norm backward", dx, g, r, d);
  if (dw.defined()) WT_CHECK_SHAPE("rms_norm backward", dw, g, d);
}

void check_layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& y, const Tensor& mean,
                              const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("layer_norm", w, g, d);
  WT_CHECK_SHAPE("layer_norm", b, g, d);
  WT_CHECK_SHAPE("layer_norm", y, g, r, d);
  WT_CHECK_SHAPE("layer_norm", mean, g, r);
  WT_CHECK_SHAPE("layer_norm", rstd, g, r);
}

void check_layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                               const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw,
                               const Tensor& db) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("layer_norm backward", dy, g, r, d);
  WT_CHECK_SHAPE("layer_norm backward", w, g, d);
  WT_CHECK_SHAPE("layer_norm backward", mean, g, r);
  WT_CHECK_SHAPE("layer_norm backward", rstd, g, r);
  if (dx_mode != GradMode::kSkip) WT_CHECK_SHAPE("layer_norm backward", dx, g, r, d);
  WT_CHECK(dw.defined() == db.defined(), "layer_norm backward: dw and db go together");
  if (dw.defined()) WT_CHECK_SHAPE("layer_norm backward", dw, g, d);
  if (db.defined()) WT_CHECK_SHAPE("layer_norm backward", db, g, d);
}

void check_memory_read_forward(const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z, const Cells& cells,
                               const Tensor& y, const Tensor& den) {
  check_state("memory_read", phi, a, z, cells);
  const MemoryExtents e = memory_extents(phi, a);
  WT_CHECK_SHAPE("memory_read", x, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_read", y, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_read", den, e.g, e.b, e.t);
}

void check_memory_read_backward(const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                                const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da,
                                const Tensor& dz, GradMode state_mode) {
  check_state("memory_read backward", phi, a, z, cells);
  const MemoryExtents e = memory_extents(phi, a);
  WT_CHECK_SHAPE("memory_read backward", dy, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_read backward", den, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_read backward", dphi, e.g, e.b, e.t, e.p);
  if (state_mode == GradMode::kSkip) return;
  WT_CHECK_SHAPE("memory_read backward", da, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE("memory_read backward", dz, e.g, e.b, e.p);
}

void check_memory_write_forward(const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a, const Tensor& z,
                                const Cells& cells, const Tensor& a_out, const Tensor& z_out,
                                const MemoryWrite& saved) {
  check_state("memory_write", k, a, z, cells);
  const MemoryExtents e = memory_extents(k, a);
  WT_CHECK_SHAPE("memory_write", v, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_write", b, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write", a_out, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE("memory_write", z_out, e.g, e.b, e.p);
  WT_CHECK_SHAPE("memory_write", saved.error, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_write", saved.den, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write", saved.gamma, e.g, e.b, e.t);
}

void check_memory_write_backward(const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                                 const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                                 const Tensor& dk, const Tensor& dv, const Tensor& db) {
  check_state("memory_write backward", k, a, z, cells);
  const MemoryExtents e = memory_extents(k, a);
  WT_CHECK_SHAPE("memory_write backward", b, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write backward", saved.error, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_write backward", saved.den, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write backward", saved.gamma, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write backward", da, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE("memory_write backward", dz, e.g, e.b, e.p);
  WT_CHECK_SHAPE("memory_write backward", dk, e.g, e.b, e.t, e.p);
  WT_CHECK_SHAPE("memory_write backward", dv, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_write backward", db, e.g, e.b, e.t);
}

}  // namespace wt::kernels
