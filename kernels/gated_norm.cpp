#include "kernels/gated_norm.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_inputs(const char* op, const Tensor& y, const Tensor& z, const Tensor& w, const GatedNorm& norm,
                  const Tensor& rstd) {
  WT_CHECK(y.shape().rank() == 4 && z.shape().rank() == 4, op, ": y is ", y, ", z is ", z,
           ", expected (G, B, T, I) and (G, B, T, W)");
  const std::int64_t g = y.dim(0), b = y.dim(1), t = y.dim(2), i = y.dim(3);
  WT_CHECK(norm.groups > 0 && i % norm.groups == 0, op, ": ", i, " channels do not divide into ", norm.groups,
           " groups");
  WT_CHECK(z.dim(3) >= i, op, ": z has ", z.dim(3), " columns, y ", i);
  WT_CHECK_SHAPE(op, z, g, b, t, z.dim(3));
  WT_CHECK_SHAPE(op, w, g, i);
  WT_CHECK_SHAPE(op, rstd, g, b, t, norm.groups);
}

}  // namespace

WT_BACKENDS(gated_norm_forward)
WT_BACKENDS(gated_norm_backward)

void gated_norm_forward(const Stream& stream, const Tensor& y, const Tensor& z, const Tensor& w, const GatedNorm& norm,
                        const Tensor& o, const Tensor& rstd) {
  check_inputs("gated_norm", y, z, w, norm, rstd);
  const std::int64_t g = y.dim(0), b = y.dim(1), t = y.dim(2), i = y.dim(3);
  WT_CHECK_SHAPE("gated_norm", o, g, b, t, i);
  WT_CHECK(!o.overlaps(z), "gated_norm: o lies in z");
  WT_RUN(kScan, gated_norm_forward, stream, y, z, w, norm, o, rstd);
}

void gated_norm_backward(const Stream& stream, const Tensor& dout, const Tensor& y, const Tensor& z, const Tensor& w,
                         const Tensor& rstd, const GatedNorm& norm, const Tensor& dy, const Tensor& dz,
                         const Tensor& dw) {
  const char* op = "gated_norm backward";
  check_inputs(op, y, z, w, norm, rstd);
  const std::int64_t g = y.dim(0), b = y.dim(1), t = y.dim(2), i = y.dim(3);
  WT_CHECK_SHAPE(op, dout, g, b, t, i);
  WT_CHECK_SHAPE(op, dy, g, b, t, i);
  WT_CHECK_SHAPE(op, dz, g, b, t, z.dim(3));
  if (dw.defined()) WT_CHECK_SHAPE(op, dw, g, i);
  WT_CHECK(!dy.overlaps(y) && !dy.overlaps(z) && !dz.overlaps(dy) && !dz.overlaps(dout), op,
           ": dy lies in y, z or dz, or dz in dout");
  WT_RUN(kScan, gated_norm_backward, stream, dout, y, z, w, rstd, norm, dy, dz, dw);
}

}  // namespace wt::kernels
