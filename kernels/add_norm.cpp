#include "kernels/add_norm.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_forward(const Tensor& x, const Tensor& delta, const Tensor& order, const Tensor& w, const Tensor& h,
                   const Tensor& n, const Tensor& rstd) {
  const char* op = "add_norm";
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  WT_CHECK_SHAPE(op, delta, g, r, d);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), op, ": order is ", order,
           ", expected i32[", g, "]");
  WT_CHECK_SHAPE(op, w, g, d);
  WT_CHECK_SHAPE(op, h, g, r, d);
  WT_CHECK_SHAPE(op, n, g, r, d);
  WT_CHECK_SHAPE(op, rstd, g, r);
  WT_CHECK(!h.overlaps(delta) && !h.overlaps(n) && !n.overlaps(x) && !n.overlaps(delta), op,
           ": outputs share memory with one another or with delta");
}

void check_backward(const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& rstd, const Tensor& order,
                    const Tensor& dh, GradMode dh_mode, const Tensor& dw, const Tensor& ddelta) {
  const char* op = "add_norm backward";
  const std::int64_t g = h.dim(0), r = h.dim(1), d = h.dim(2);
  WT_CHECK(dh_mode != GradMode::kSkip, op, ": dh is what is asked for");
  WT_CHECK_SHAPE(op, dn, g, r, d);
  WT_CHECK_SHAPE(op, w, g, d);
  WT_CHECK_SHAPE(op, rstd, g, r);
  WT_CHECK(!order.defined() || (order.shape() == (Shape{g}) && order.dtype() == DType::kI32), op, ": order is ", order,
           ", expected i32[", g, "]");
  WT_CHECK_SHAPE(op, dh, g, r, d);
  if (dw.defined()) WT_CHECK_SHAPE(op, dw, g, d);
  if (!ddelta.defined()) return;
  WT_CHECK_SHAPE(op, ddelta, g, r, d);
  WT_CHECK(!ddelta.overlaps(dh) && !ddelta.overlaps(dn), op, ": ddelta shares memory with dh or dn");
}

}  // namespace

WT_BACKENDS(add_rms_norm_forward)
WT_BACKENDS(add_rms_norm_backward)
WT_BACKENDS(add_layer_norm_forward)
WT_BACKENDS(add_layer_norm_backward)

void add_rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                          const Tensor& w, double eps, const Tensor& h, const Tensor& n, const Tensor& rstd) {
  check_forward(x, delta, order, w, h, n, rstd);
  WT_RUN(kElementwise, add_rms_norm_forward, stream, x, delta, order, w, eps, h, n, rstd);
}

void add_rms_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& rstd,
                           const Tensor& order, const Tensor& dh, GradMode dh_mode, const Tensor& dw,
                           const Tensor& ddelta) {
  check_backward(dn, h, w, rstd, order, dh, dh_mode, dw, ddelta);
  WT_RUN(kElementwise, add_rms_norm_backward, stream, dn, h, w, rstd, order, dh, dh_mode, dw, ddelta);
}

void add_layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                            const Tensor& w, const Tensor& b, double eps, const Tensor& h, const Tensor& n,
                            const Tensor& mean, const Tensor& rstd) {
  check_forward(x, delta, order, w, h, n, rstd);
  WT_CHECK_SHAPE("add_norm", b, x.dim(0), x.dim(2));
  WT_CHECK_SHAPE("add_norm", mean, x.dim(0), x.dim(1));
  WT_RUN(kElementwise, add_layer_norm_forward, stream, x, delta, order, w, b, eps, h, n, mean, rstd);
}

void add_layer_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w,
                             const Tensor& mean, const Tensor& rstd, const Tensor& order, const Tensor& dh,
                             GradMode dh_mode, const Tensor& dw, const Tensor& db, const Tensor& ddelta) {
  check_backward(dn, h, w, rstd, order, dh, dh_mode, dw, ddelta);
  WT_CHECK_SHAPE("add_norm backward", mean, h.dim(0), h.dim(1));
  WT_CHECK(dw.defined() == db.defined(), "add_norm backward: dw and db go together");
  if (db.defined()) WT_CHECK_SHAPE("add_norm backward", db, h.dim(0), h.dim(2));
  WT_RUN(kElementwise, add_layer_norm_backward, stream, dn, h, w, mean, rstd, order, dh, dh_mode, dw, db, ddelta);
}

}  // namespace wt::kernels
