#include "autograd/ops/add.h"

#include "kernels/rows.h"

namespace wt::ops {
namespace {

struct Saved {
  int x_id, y_id, out_id;
  std::vector<Tensor> tensors() const { return {}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor dout = pass.take(s.out_id);
  if (!dout.defined()) return;
  // Each slot owns its gradient, so one of the two gets a copy.
  if (s.x_id >= 0) pass.pass(s.x_id, s.y_id >= 0 ? dout.clone(pass.stream()) : dout);
  pass.pass(s.y_id, dout);
}

}  // namespace

Var add(Context& ctx, const Var& x, const Var& y, const Tensor& out) {
  const OpScope scope("add");
  const Tensor sum =
      out.defined() ? out.reshape(x.value.shape()) : Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  sum.copy_from(ctx.stream, x.value);
  kernels::add(ctx.stream, y.value, sum);
  if (!ctx.recording()) return sum;
  const Var result = ctx.record->output(sum, x.wants_grad() || y.wants_grad());
  if (result.wants_grad()) ctx.record->record("add", Saved{x.id, y.id, result.id}, backward);
  return result;
}

}  // namespace wt::ops
