#include "kernels/layer_norm.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(layer_norm_forward)
WT_BACKENDS(layer_norm_backward)

void layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& order) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE("layer_norm", w, g, d);
  WT_CHECK_SHAPE("layer_norm", b, g, d);
  WT_CHECK_SHAPE("layer_norm", y, g, r, d);
  WT_CHECK_SHAPE("layer_norm", mean, g, r);
  WT_CHECK_SHAPE("layer_norm", rstd, g, r);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), "layer_norm",
           ": order is ", order, ", expected i32[", g, "]");
  WT_CHECK(!order.defined() || !y.overlaps(x), "layer_norm: y lies in x, and in another order");
  WT_RUN(kElementwise, layer_norm_forward, stream, x, w, b, eps, y, mean, rstd, order);
}

void layer_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db,
                         const Tensor& order) {
  const char* op = "layer_norm backward";
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE(op, dy, g, r, d);
  WT_CHECK_SHAPE(op, w, g, d);
  WT_CHECK_SHAPE(op, mean, g, r);
  WT_CHECK_SHAPE(op, rstd, g, r);
  if (dx_mode != GradMode::kSkip) WT_CHECK_SHAPE(op, dx, g, r, d);
  WT_CHECK(dw.defined() == db.defined(), op, ": dw and db go together");
  if (dw.defined()) WT_CHECK_SHAPE(op, dw, g, d);
  if (db.defined()) WT_CHECK_SHAPE(op, db, g, d);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), op, ": order is ", order,
           ", expected i32[", g, "]");
  WT_CHECK(!order.defined() || !dx.defined() || !dx.overlaps(dy), op, ": dx lies in dy, and in another order");
  WT_RUN(kElementwise, layer_norm_backward, stream, dy, x, w, mean, rstd, dx, dx_mode, dw, db, order);
}

}  // namespace wt::kernels
