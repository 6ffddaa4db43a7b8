#include "autograd/ops/rows.h"

#include "kernels/rows.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor first;
  Shape shape;  // of x
  int x_id, y_id;
  std::vector<Tensor> tensors() const { return {first}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.shape, dy.dtype());
  kernels::take_rows_backward(pass.stream(), dy, s.first, dx, mode);
}

struct SavedAdd {
  Tensor source, target;
  Shape shape;  // of the values
  int x_id, values_id, out_id;
  std::vector<Tensor> tensors() const { return {source, target}; }
};

void backward_add(BackwardPass& pass, const SavedAdd& s) {
  const Tensor dout = pass.take(s.out_id);
  if (!dout.defined()) return;
  if (const auto [dvalues, mode] = pass.slot(s.values_id, s.shape, dout.dtype()); mode != GradMode::kSkip) {
    const Tensor rows = Tensor::empty(pass.stream(), {s.source.numel(), dout.shape()[-1]}, dout.dtype());
    kernels::gather_rows(pass.stream(), dout, s.target, rows);
    if (mode == GradMode::kOverwrite) dvalues.fill_zero(pass.stream());
    kernels::scatter_add_rows(pass.stream(), rows, s.source, dvalues);
  }
  pass.pass(s.x_id, dout);
}

}  // namespace

Var add_rows(Context& ctx, const Var& x, const Var& values, const Tensor& source, const Tensor& target) {
  const OpScope scope("add_rows");
  const Tensor rows = Tensor::empty(ctx.stream, {source.numel(), x.value.shape()[-1]}, x.value.dtype());
  kernels::gather_rows(ctx.stream, values.value, source, rows);
  kernels::scatter_add_rows(ctx.stream, rows, target, x.value);
  if (!ctx.recording()) return x.value;
  const Var out = ctx.record->output(x.value, x.wants_grad() || values.wants_grad());
  if (out.wants_grad()) {
    ctx.record->record("add_rows", SavedAdd{source, target, values.value.shape(), x.id, values.id, out.id},
                       backward_add);
  }
  return out;
}

Var take_rows(Context& ctx, const Var& x, const Tensor& first, std::int64_t count) {
  const OpScope scope("take_rows");
  const Shape& s = x.value.shape();
  const Tensor y = Tensor::empty(ctx.stream, {s[0], s[1], count, s[3]}, x.value.dtype());
  kernels::take_rows_forward(ctx.stream, x.value, first, y);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("take_rows", Saved{first, x.value.shape(), x.id, out.id}, backward);
  return out;
}

}  // namespace wt::ops
