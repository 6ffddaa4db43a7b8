#include "kernels/linear.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

// x and y stand for their gradients, too.
void check_product(const char* op, const Tensor& x, const Tensor& y, const Tensor& w, WeightLayout layout,
                   std::int64_t first) {
  WT_CHECK(x.shape().rank() == 3 && y.shape().rank() == 3, op, ": x is ", x, " and y ", y, ", expected three extents");
  const LinearExtents e = linear_extents(x, y);
  WT_CHECK_SHAPE(op, y, e.g, e.r, e.o);
  if (first != kAllOutputs) {
    const std::int64_t outputs = w.shape().rank() == 3 ? w.dim(1) : 0;
    WT_CHECK(layout == WeightLayout::kOutIn && first >= 0 && first + e.o <= outputs, op, ": outputs [", first, ", ",
             first + e.o, ") of a weight ", w.shape());
    WT_CHECK_SHAPE(op, w, e.g, outputs, e.i);
  } else if (layout == WeightLayout::kOutIn) {
    WT_CHECK_SHAPE(op, w, e.g, e.o, e.i);
  } else {
    WT_CHECK_SHAPE(op, w, e.g, e.i, e.o);
  }
  // CUDA's products take bf16 into f32.
  WT_CHECK(x.device().is_cuda() || (x.dtype() == y.dtype() && x.dtype() == w.dtype()), op, ": dtypes differ: x ", x,
           ", w ", w, ", y ", y);
}

}  // namespace

WT_BACKENDS(linear_forward)
WT_BACKENDS(linear_backward_input)
WT_BACKENDS(linear_backward_weight)
WT_BACKENDS(linear_backward_bias)

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const Tensor& bias,
                    const Tensor& residual, const Tensor& y, bool constant_weight, std::int64_t first) {
  check_product("linear", x, y, w, layout, first);
  const LinearExtents e = linear_extents(x, y);
  WT_CHECK(y.dtype() == x.dtype() || y.dtype() == DType::kF32, "linear: x is ", x, ", y ", y);
  if (bias.defined()) WT_CHECK_SHAPE("linear", bias, e.g, e.o);
  if (residual.defined()) WT_CHECK_SHAPE("linear", residual, e.g, e.r, e.o);
  WT_CHECK(!residual.defined() || residual.dtype() == y.dtype(), "linear: the residual is ", residual, ", y ", y);
  WT_RUN(kGemm, linear_forward, stream, x, w, layout, bias, residual, y, constant_weight, first);
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, WeightLayout layout,
                           const Tensor& dx, GradMode mode, std::int64_t first) {
  if (mode == GradMode::kSkip) return;
  check_product("linear backward", dx, dy, w, layout, first);
  WT_RUN(kGemm, linear_backward_input, stream, dy, w, layout, dx, mode, first);
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, WeightLayout layout,
                            const Tensor& dw, std::int64_t first) {
  check_product("linear backward", x, dy, dw, layout, first);
  WT_RUN(kGemm, linear_backward_weight, stream, dy, x, layout, dw, first);
}

void linear_backward_bias(const Stream& stream, const Tensor& dy, const Tensor& dbias) {
  WT_CHECK_SHAPE("linear backward", dbias, dy.dim(0), dy.dim(2));
  WT_RUN(kGemm, linear_backward_bias, stream, dy, dbias);
}

}  // namespace wt::kernels
