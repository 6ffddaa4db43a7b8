#include "autograd/ops/activation.h"

#include "kernels/activation.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor x;
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {x}; }
};

// The slot of an op that is its input's only consumer, which every activation in a block is.
Tensor sole_slot(BackwardPass& pass, const char* op, int id, const Tensor& like) {
  const auto [grad, mode] = pass.slot(id, like);
  WT_CHECK(mode != GradMode::kAccumulate, op, ": its input must not feed another op");
  return grad;
}

void swiglu_backward(BackwardPass& pass, const Saved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  kernels::swiglu_backward(pass.stream(), dy, s.x, sole_slot(pass, "swiglu", s.x_id, s.x));
}

void gelu_backward(BackwardPass& pass, const Saved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  kernels::gelu_backward(pass.stream(), dy, s.x, sole_slot(pass, "gelu", s.x_id, s.x));
}

struct DropoutSaved {
  Tensor cell;
  double p;
  kernels::DropoutKey key;
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {cell}; }
};

void dropout_backward(BackwardPass& pass, const DropoutSaved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  kernels::dropout(pass.stream(), dy, s.cell, s.p, s.key, dy);
  pass.pass(s.x_id, dy);
}

}  // namespace

Var swiglu(Context& ctx, const Var& gate_up) {
  const OpScope scope("swiglu");
  Shape shape = gate_up.value.shape();
  shape.set(shape.rank() - 1, shape[-1] / 2);
  const Tensor y = Tensor::empty(ctx.stream, shape, gate_up.value.dtype());
  kernels::swiglu_forward(ctx.stream, gate_up.value, y);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, gate_up.wants_grad());
  if (out.wants_grad()) ctx.record->record("swiglu", Saved{gate_up.value, gate_up.id, out.id}, swiglu_backward);
  return out;
}

Var gelu(Context& ctx, const Var& x) {
  const OpScope scope("gelu");
  const Tensor y = Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  kernels::gelu_forward(ctx.stream, x.value, y);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("gelu", Saved{x.value, x.id, out.id}, gelu_backward);
  return out;
}

Var dropout(Context& ctx, const Var& x, const Tensor& cell, double p, const kernels::DropoutKey& key) {
  const OpScope scope("dropout");
  if (p == 0 || !ctx.training) return x;
  const Tensor y = Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  kernels::dropout(ctx.stream, x.value, cell, p, key, y);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("dropout", DropoutSaved{cell, p, key, x.id, out.id}, dropout_backward);
  return out;
}

}  // namespace wt::ops
