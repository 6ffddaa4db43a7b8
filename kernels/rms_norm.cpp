#include "kernels/rms_norm.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(rms_norm_forward)
WT_BACKENDS(rms_norm_backward)

void rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd, const Tensor& order) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("rms_norm", w, g, d);
  WT_CHECK_SHAPE("rms_norm", y, g, r, d);
  WT_CHECK_SHAPE("rms_norm", rstd, g, r);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), "rms_norm", ": order is ",
           order, ", expected i32[", g, "]");
  WT_CHECK(!order.defined() || !y.overlaps(x), "rms_norm: y lies in x, and in another order");
  WT_RUN(kElementwise, rms_norm_forward, stream, x, w, eps, y, rstd, order);
}

void rms_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& order) {
  const char* op = "rms_norm backward";
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE(op, dy, g, r, d);
  WT_CHECK_SHAPE(op, w, g, d);
  WT_CHECK_SHAPE(op, rstd, g, r);
  if (dx_mode != GradMode::kSkip) WT_CHECK_SHAPE(op, dx, g, r, d);
  if (dw.defined()) WT_CHECK_SHAPE(op, dw, g, d);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), op, ": order is ", order,
           ", expected i32[", g, "]");
  WT_CHECK(!order.defined() || !dx.defined() || !dx.overlaps(dy), op, ": dx lies in dy, and in another order");
  WT_RUN(kElementwise, rms_norm_backward, stream, dy, x, w, rstd, dx, dx_mode, dw, order);
}

}  // namespace wt::kernels
