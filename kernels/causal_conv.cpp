#include "kernels/causal_conv.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

// Everything but y, which only forward has, and the outgoing tail, which backward may lack.
void check_inputs(const char* op, const Tensor& x, std::int64_t column, const Tensor& w, const Tensor& bias,
                  const Tensor& tail, const Cells& cells) {
  WT_CHECK(x.shape().rank() == 4 && w.shape().rank() == 3 && w.dim(2) >= 2, op, ": x is ", x, ", w is ", w,
           ", expected (G, B, T, W) and (G, E, K) with K >= 2");
  const std::int64_t g = x.dim(0), b = x.dim(1), e = w.dim(1), k = w.dim(2);
  WT_CHECK(column >= 0 && column + e <= x.dim(3), op, ": columns [", column, ",", column + e, ") of ", x.dim(3));
  WT_CHECK_SHAPE(op, w, g, e, k);
  if (bias.defined()) WT_CHECK_SHAPE(op, bias, g, e);
  WT_CHECK_SHAPE(op, tail, g, b, k - 1, e);
  WT_CHECK_SHAPE(op, cells.flags, g, b);
  WT_CHECK_SHAPE(op, cells.rows, g, b);
}

}  // namespace

WT_BACKENDS(causal_conv_forward)
WT_BACKENDS(causal_conv_backward)

void causal_conv_forward(const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w,
                         const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& y,
                         const Tensor& tail_out) {
  check_inputs("causal_conv", x, column, w, bias, tail, cells);
  const std::int64_t g = x.dim(0), b = x.dim(1), t = x.dim(2), e = w.dim(1), k = w.dim(2);
  WT_CHECK_SHAPE("causal_conv", y, g, b, t, e);
  WT_CHECK_SHAPE("causal_conv", tail_out, g, b, k - 1, e);
  WT_CHECK(!y.overlaps(x), "causal_conv: y lies in x");
  WT_RUN(kScan, causal_conv_forward, stream, x, column, w, bias, tail, cells, y, tail_out);
}

void causal_conv_backward(const Stream& stream, const Tensor& dy, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& dtail_out,
                          const Tensor& dx, const Tensor& dw, const Tensor& dbias, const Tensor& dtail) {
  const char* op = "causal_conv backward";
  check_inputs(op, x, column, w, bias, tail, cells);
  const std::int64_t g = x.dim(0), b = x.dim(1), t = x.dim(2), e = w.dim(1), k = w.dim(2);
  WT_CHECK_SHAPE(op, dy, g, b, t, e);
  WT_CHECK_SHAPE(op, dx, g, b, t, x.dim(3));
  if (dtail_out.defined()) WT_CHECK_SHAPE(op, dtail_out, g, b, k - 1, e);
  if (dtail.defined()) WT_CHECK_SHAPE(op, dtail, g, b, k - 1, e);
  if (dw.defined()) WT_CHECK_SHAPE(op, dw, g, e, k);
  WT_CHECK(bias.defined() || !dbias.defined(), op, ": a gradient of a bias that is not there");
  if (dbias.defined()) WT_CHECK_SHAPE(op, dbias, g, e);
  WT_CHECK(!dx.overlaps(dy) && !dx.overlaps(x), op, ": dx lies in dy or x");
  WT_RUN(kScan, causal_conv_backward, stream, dy, x, column, w, bias, tail, cells, dtail_out, dx, dw, dbias, dtail);
}

}  // namespace wt::kernels
