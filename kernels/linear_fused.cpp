#include "kernels/linear_fused.h"

#include "kernels/activation.h"
#include "kernels/dispatch.h"
#include "kernels/gated_norm.h"
#include "kernels/rms_norm.h"

namespace wt::kernels {

WT_BACKENDS(linear_fused)

void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y) {
  WT_CHECK(!parts.swiglu || !parts.residual.defined(), "linear_fused: swiglu with a residual");
  WT_CHECK(!parts.wide.defined() || !(parts.swiglu || parts.residual.defined()),
           "linear_fused: wide outputs beside swiglu or a residual");
  const std::int64_t g = x.dim(0), r = x.dim(1), i = x.dim(2), width = y.shape()[-1];
  const std::int64_t last = parts.wide.defined() ? parts.wide.shape()[-1] : 0,
                     o = width * (parts.swiglu ? 2 : 1) + last;
  if (last > 0) {
    WT_CHECK(layout == WeightLayout::kOutIn, "linear_fused: wide outputs of a weight that is (in, out)");
    WT_CHECK_SHAPE("linear", parts.wide, g, r, last);
  }
  if (parts.gate.defined()) {
    WT_CHECK(parts.norm.defined(), "linear_fused: a gate without a norm");
    WT_CHECK(parts.gate.shape()[-1] >= i, "linear: a gate ", parts.gate, " for inputs of ", i);
    WT_CHECK_SHAPE("linear", parts.gate, g, r, parts.gate.shape()[-1]);
  }
  if (layout == WeightLayout::kOutIn) {
    WT_CHECK_SHAPE("linear", w, g, o, i);
  } else {
    WT_CHECK_SHAPE("linear", w, g, i, o);
  }
  WT_CHECK_SHAPE("linear", y, g, r, width);
  if (parts.norm.defined()) WT_CHECK_SHAPE("linear", parts.norm, g, i);
  if (parts.bias.defined()) WT_CHECK_SHAPE("linear", parts.bias, g, o);
  if (parts.residual.defined()) WT_CHECK_SHAPE("linear", parts.residual, g, r, o);
  WT_CHECK(y.dtype() == x.dtype() || (y.dtype() == DType::kF32 && !parts.swiglu), "linear: x is ", x, ", y ", y);
  WT_RUN(kGemm, linear_fused, stream, x, w, layout, parts, y);
}

void linear_in_parts(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout,
                     const FusedLinear& parts, const Tensor& y) {
  Tensor input = x;
  if (parts.gate.defined()) {
    const std::int64_t g = x.dim(0), r = x.dim(1), i = x.dim(2);
    input = Tensor::empty(stream, x.shape(), x.dtype());
    const Tensor rstd = Tensor::empty(stream, {g, 1, r, 1}, wide(x.dtype()));
    gated_norm_forward(stream, x.reshape({g, 1, r, i}), parts.gate.reshape({g, 1, r, parts.gate.dim(2)}), parts.norm,
                       {.eps = parts.eps}, input.reshape({g, 1, r, i}), rstd);
  } else if (parts.norm.defined()) {
    input = Tensor::empty(stream, x.shape(), x.dtype());
    const Tensor rstd = Tensor::empty(stream, {x.dim(0), x.dim(1)}, wide(x.dtype()));
    rms_norm_forward(stream, x, parts.norm, parts.eps, input, rstd);
  }
  if (parts.wide.defined()) {
    const std::int64_t main = y.dim(2), last = parts.wide.dim(2);
    // A bias of several layers has its outputs apart: none is asked for.
    WT_CHECK(!parts.bias.defined() || x.dim(0) == 1, "linear_fused: wide outputs and a bias of several layers");
    const auto bias = [&](std::int64_t begin, std::int64_t count) {
      if (!parts.bias.defined()) return Tensor{};
      return parts.bias.reshape({main + last}).slice(begin, begin + count).reshape({1, count});
    };
    linear_forward(stream, input, w, layout, bias(0, main), {}, y, parts.constant_weight, 0);
    return linear_forward(stream, input, w, layout, bias(main, last), {}, parts.wide, parts.constant_weight, main);
  }
  if (!parts.swiglu) {
    linear_forward(stream, input, w, layout, parts.bias, parts.residual, y, parts.constant_weight);
    return;
  }
  const Tensor both = Tensor::empty(stream, {y.dim(0), y.dim(1), 2 * y.dim(2)}, x.dtype());
  linear_forward(stream, input, w, layout, parts.bias, {}, both, parts.constant_weight);
  swiglu_forward(stream, both, y);
}

namespace cpu {
void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y) {
  linear_in_parts(stream, x, w, layout, parts, y);
}
}  // namespace cpu

}  // namespace wt::kernels
