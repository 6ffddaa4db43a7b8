#include "autograd/ops/linear.h"

#include "autograd/ops/flat.h"
#include "kernels/rows.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor x;
  const Parameter* weight;
  const Parameter* bias;
  kernels::WeightLayout layout;
  std::int64_t first;
  int lo, hi, x_id, residual_id, y_id;
  std::vector<Tensor> tensors() const { return {x}; }
};

// Outputs [first, first + outputs) of a bias of G layers, as a tensor of their own.
Tensor part_of(const Stream& stream, const Tensor& bias, std::int64_t first, std::int64_t outputs) {
  const Tensor part = Tensor::empty(stream, {bias.dim(0), outputs}, bias.dtype());
  for (std::int64_t g = 0; g < bias.dim(0); ++g) {
    part.select(g).copy_from(stream, bias.select(g).slice(first, first + outputs));
  }
  return part;
}

void backward_bias(const Stream& stream, const Tensor& dy, std::int64_t first, const Tensor& dbias) {
  if (first == kernels::kAllOutputs) return kernels::linear_backward_bias(stream, dy, dbias);
  const Tensor part = Tensor::zeros(stream, {dy.dim(0), dy.dim(2)}, dbias.dtype());
  kernels::linear_backward_bias(stream, dy, part);
  for (std::int64_t g = 0; g < dy.dim(0); ++g) {
    kernels::add(stream, part.select(g), dbias.select(g).slice(first, first + dy.dim(2)));
  }
}

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor given = pass.take(s.y_id);
  if (!given.defined()) return;
  const Tensor dy = narrowed(pass.stream(), given, s.x.dtype());
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  if (mode != GradMode::kSkip) {
    kernels::linear_backward_input(pass.stream(), flat(dy, s.x.dim(0)), s.weight->value_slice(s.lo, s.hi), s.layout,
                                   flat(dx, s.x.dim(0)), mode, s.first);
  }
  if (s.weight->trainable) {
    kernels::linear_backward_weight(pass.stream(), flat(dy, s.x.dim(0)), flat(s.x, s.x.dim(0)), s.layout,
                                    s.weight->grad_slice(s.lo, s.hi), s.first);
  }
  if (s.bias != nullptr && s.bias->trainable) {
    backward_bias(pass.stream(), flat(dy, s.x.dim(0)), s.first, s.bias->grad_slice(s.lo, s.hi));
  }
  pass.pass(s.residual_id, dy);  // last: dy becomes the residual's gradient and may be added to
}

}  // namespace

Var linear(Context& ctx, const Var& x, const Parameter& weight, const LinearOptions& options) {
  const OpScope scope("linear");
  const Tensor w = weight.value_slice(ctx.lo, ctx.hi);
  const bool out_in = options.layout == kernels::WeightLayout::kOutIn;
  Shape shape = x.value.shape();
  const bool all = options.first == kernels::kAllOutputs;
  shape.set(shape.rank() - 1, !all ? options.outputs : w.dim(out_in ? 1 : 2));
  const DType dtype = options.wide_output ? wide(x.value.dtype()) : x.value.dtype();
  const Tensor y = options.out.defined() ? options.out.reshape(shape) : Tensor::empty(ctx.stream, shape, dtype);
  Tensor bias = options.bias != nullptr ? options.bias->value_slice(ctx.lo, ctx.hi) : Tensor{};
  if (bias.defined() && !all) bias = part_of(ctx.stream, bias, options.first, options.outputs);
  const Tensor residual = options.residual != nullptr ? flat(options.residual->value, x.value.dim(0)) : Tensor{};
  kernels::linear_forward(ctx.stream, flat(x.value, x.value.dim(0)), w, options.layout, bias, residual,
                          flat(y, x.value.dim(0)), !ctx.recording(), options.first);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, true);
  ctx.record->record("linear",
                     Saved{x.value, &weight, options.bias, options.layout, options.first, ctx.lo, ctx.hi, x.id,
                           options.residual != nullptr ? options.residual->id : -1, out.id},
                     backward);
  return out;
}

}  // namespace wt::ops
