#include "autograd/ops/norm.h"

#include "autograd/ops/flat.h"
#include "kernels/layer_norm.h"
#include "kernels/rms_norm.h"

namespace wt::ops {
namespace {

struct RmsSaved {
  Tensor x, rstd, order;
  const Parameter* weight;
  int lo, hi, x_id, y_id;
  std::vector<Tensor> tensors() const { return {x, rstd}; }  // the order belongs to all waves
};

void rms_backward(BackwardPass& pass, const RmsSaved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  kernels::rms_norm_backward(pass.stream(), flat(dy, s.x.dim(0)), flat(s.x, s.x.dim(0)),
                             s.weight->value_slice(s.lo, s.hi), s.rstd, dx.defined() ? flat(dx, s.x.dim(0)) : dx, mode,
                             s.weight->trainable ? s.weight->grad_slice(s.lo, s.hi) : Tensor{}, s.order);
}

struct LayerSaved {
  Tensor x, mean, rstd, order;
  const Parameter* weight;
  const Parameter* bias;
  int lo, hi, x_id, y_id;
  std::vector<Tensor> tensors() const { return {x, mean, rstd}; }
};

void layer_backward(BackwardPass& pass, const LayerSaved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  // The kernel makes both parameter gradients or none: a frozen one's goes to memory nobody looks at.
  const bool wanted = s.weight->trainable || s.bias->trainable;
  const auto target = [&](const Parameter& parameter) {
    if (!wanted) return Tensor{};
    if (parameter.trainable) return parameter.grad_slice(s.lo, s.hi);
    const Tensor value = parameter.value_slice(s.lo, s.hi);
    return Tensor::zeros(pass.stream(), value.shape(), value.dtype());
  };
  kernels::layer_norm_backward(
      pass.stream(), flat(dy, s.x.dim(0)), flat(s.x, s.x.dim(0)), s.weight->value_slice(s.lo, s.hi), s.mean, s.rstd,
      dx.defined() ? flat(dx, s.x.dim(0)) : dx, mode, target(*s.weight), target(*s.bias), s.order);
}

}  // namespace

Var rms_norm(Context& ctx, const Var& x, const Parameter& weight, double eps, const Tensor& order) {
  const OpScope scope("rms_norm");
  const Tensor in = flat(x.value, x.value.dim(0));
  const Tensor y = Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  const Tensor rstd = Tensor::empty(ctx.stream, {in.dim(0), in.dim(1)}, wide(in.dtype()));
  kernels::rms_norm_forward(ctx.stream, in, weight.value_slice(ctx.lo, ctx.hi), eps, flat(y, x.value.dim(0)), rstd,
                            order);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, true);
  ctx.record->record("rms_norm", RmsSaved{x.value, rstd, order, &weight, ctx.lo, ctx.hi, x.id, out.id}, rms_backward);
  return out;
}

Var layer_norm(Context& ctx, const Var& x, const Parameter& weight, const Parameter& bias, double eps,
               const Tensor& order) {
  const OpScope scope("layer_norm");
  const Tensor in = flat(x.value, x.value.dim(0));
  const Tensor y = Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  const Tensor mean = Tensor::empty(ctx.stream, {in.dim(0), in.dim(1)}, wide(in.dtype()));
  const Tensor rstd = Tensor::empty(ctx.stream, {in.dim(0), in.dim(1)}, wide(in.dtype()));
  kernels::layer_norm_forward(ctx.stream, in, weight.value_slice(ctx.lo, ctx.hi), bias.value_slice(ctx.lo, ctx.hi), eps,
                              flat(y, x.value.dim(0)), mean, rstd, order);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, true);
  ctx.record->record("layer_norm", LayerSaved{x.value, mean, rstd, order, &weight, &bias, ctx.lo, ctx.hi, x.id, out.id},
                     layer_backward);
  return out;
}

}  // namespace wt::ops
