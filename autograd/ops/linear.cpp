#include "autograd/ops/linear.h"

#include "autograd/ops/flat.h"
#include "kernels/cast.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor x;
  const Parameter* weight;
  const Parameter* bias;
  kernels::WeightLayout layout;
  int lo, hi, x_id, residual_id, y_id;
  std::vector<Tensor> tensors() const { return {x}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  if (dy.dtype() != s.x.dtype()) {  // a wide output's gradient, for the products
    const Tensor narrow = Tensor::empty(pass.stream(), dy.shape(), s.x.dtype());
    kernels::cast(pass.stream(), dy, narrow);
    dy = narrow;
  }
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  if (mode != GradMode::kSkip) {
    kernels::linear_backward_input(pass.stream(), flat(dy, s.x.dim(0)), s.weight->value_slice(s.lo, s.hi), s.layout,
                                   flat(dx, s.x.dim(0)), mode);
  }
  if (s.weight->trainable) {
    kernels::linear_backward_weight(pass.stream(), flat(dy, s.x.dim(0)), flat(s.x, s.x.dim(0)), s.layout,
                                    s.weight->grad_slice(s.lo, s.hi));
  }
  if (s.bias != nullptr && s.bias->trainable) {
    kernels::linear_backward_bias(pass.stream(), flat(dy, s.x.dim(0)), s.bias->grad_slice(s.lo, s.hi));
  }
  pass.pass(s.residual_id, dy);  // last: dy becomes the residual's gradient and may be added to
}

}  // namespace

Var linear(Context& ctx, const Var& x, const Parameter& weight, const LinearOptions& options) {
  const OpScope scope("linear");
  const Tensor w = weight.value_slice(ctx.lo, ctx.hi);
  const bool out_in = options.layout == kernels::WeightLayout::kOutIn;
  Shape shape = x.value.shape();
  shape.set(shape.rank() - 1, w.dim(out_in ? 1 : 2));
  const DType dtype = options.wide_output ? wide(x.value.dtype()) : x.value.dtype();
  const Tensor y = options.out.defined() ? options.out.reshape(shape) : Tensor::empty(ctx.stream, shape, dtype);
  const Tensor bias = options.bias != nullptr ? options.bias->value_slice(ctx.lo, ctx.hi) : Tensor{};
  const Tensor residual = options.residual != nullptr ? flat(options.residual->value, x.value.dim(0)) : Tensor{};
  kernels::linear_forward(ctx.stream, flat(x.value, x.value.dim(0)), w, options.layout, bias, residual,
                          flat(y, x.value.dim(0)), !ctx.recording());
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, true);
  ctx.record->record("linear",
                     Saved{x.value, &weight, options.bias, options.layout, ctx.lo, ctx.hi, x.id,
                           options.residual != nullptr ? options.residual->id : -1, out.id},
                     backward);
  return out;
}

}  // namespace wt::ops
