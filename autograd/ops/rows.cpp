#include "autograd/ops/rows.h"

#include "kernels/rows.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor first;
  Tensor like;  // for the shape of x only
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {first}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.like);
  kernels::take_rows_backward(pass.stream(), dy, s.first, dx, mode);
}

}  // namespace

Var take_rows(Context& ctx, const Var& x, const Tensor& first, std::int64_t count) {
  const OpScope scope("take_rows");
  const Shape& s = x.value.shape();
  const Tensor y = Tensor::empty(ctx.stream, {s[0], s[1], count, s[3]}, x.value.dtype());
  kernels::take_rows_forward(ctx.stream, x.value, first, y);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("take_rows", Saved{first, x.value, x.id, out.id}, backward);
  return out;
}

}  // namespace wt::ops
