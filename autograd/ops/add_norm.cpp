#include "autograd/ops/add_norm.h"

#include "autograd/ops/flat.h"
#include "kernels/add_norm.h"
#include "kernels/rows.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor h, mean, rstd, order;
  const Parameter* weight;
  const Parameter* bias;  // null: an RMSNorm
  int lo, hi, x_id, delta_id, h_id, normed_id;
  std::vector<Tensor> tensors() const { return {h, mean, rstd}; }  // the order belongs to all waves
};

// Runs the kernel: dh becomes h's whole gradient and ddelta, where it is defined, a copy of it in delta's order.
void run_backward(const Stream& stream, const Saved& s, const Tensor& dnormed, const Tensor& dh, GradMode mode,
                  const Tensor& ddelta) {
  const std::int64_t g = s.h.dim(0);
  const Tensor w = s.weight->value_slice(s.lo, s.hi), to_delta = ddelta.defined() ? flat(ddelta, g) : ddelta;
  // A layer norm's kernel makes both parameter gradients or none: a frozen one's goes to memory nobody looks at.
  const bool wanted = s.weight->trainable || (s.bias != nullptr && s.bias->trainable);
  const auto target = [&](const Parameter& parameter) {
    if (!wanted) return Tensor{};
    return parameter.trainable ? parameter.grad_slice(s.lo, s.hi) : Tensor::zeros(stream, w.shape(), w.dtype());
  };
  if (s.bias == nullptr) {
    kernels::add_rms_norm_backward(stream, flat(dnormed, g), flat(s.h, g), w, s.rstd, s.order, flat(dh, g), mode,
                                   target(*s.weight), to_delta);
  } else {
    kernels::add_layer_norm_backward(stream, flat(dnormed, g), flat(s.h, g), w, s.mean, s.rstd, s.order, flat(dh, g),
                                     mode, target(*s.weight), target(*s.bias), to_delta);
  }
}

void backward(BackwardPass& pass, const Saved& s) {
  const Stream& stream = pass.stream();
  Tensor dnormed = pass.take(s.normed_id), dh = pass.take(s.h_id);
  if (!dnormed.defined() && !dh.defined()) return;
  // Where only the sum was used, the kernel still brings its gradient into delta's order.
  if (!dnormed.defined()) dnormed = Tensor::zeros(stream, s.h.shape(), s.h.dtype());
  const GradMode mode = dh.defined() ? GradMode::kAccumulate : GradMode::kOverwrite;
  if (!dh.defined()) dh = Tensor::empty(stream, s.h.shape(), s.h.dtype());

  // x and delta get tensors of their own, also where both gradients lie in the same order: who takes delta's may change
  // it (dropout works in place), and other consumers of x, the first norm for one, add to x's, some perhaps before
  // delta's is used. One tensor does where nobody wants x's.
  if (s.x_id < 0 && !s.order.defined()) {
    run_backward(stream, s, dnormed, dh, mode, {});
    pass.pass(s.delta_id, dh);
    return;
  }
  const auto [slot, delta_mode] = pass.slot(s.delta_id, s.h);
  // Where delta has other consumers the kernel's copy is added to what they left.
  const bool added = delta_mode == GradMode::kAccumulate;
  const Tensor ddelta = added ? Tensor::empty(stream, s.h.shape(), s.h.dtype()) : slot;
  run_backward(stream, s, dnormed, dh, mode, ddelta);
  if (added) kernels::add(stream, ddelta, slot);
  pass.pass(s.x_id, dh);
}

AddNorm run(Context& ctx, const Var& x, const Var& delta, const Tensor& order, const Parameter& weight,
            const Parameter* bias, double eps) {
  const OpScope scope("add_norm");
  const std::int64_t g = x.value.dim(0);
  const Tensor in = flat(x.value, g), more = flat(delta.value, g), w = weight.value_slice(ctx.lo, ctx.hi);
  const auto like = [&](const Tensor& t) { return Tensor::empty(ctx.stream, t.shape(), t.dtype()); };
  const auto by_row = [&] { return Tensor::empty(ctx.stream, {g, in.dim(1)}, wide(in.dtype())); };
  const Tensor h = like(x.value), normed = like(x.value), rstd = by_row(), mean = bias != nullptr ? by_row() : Tensor{};
  if (bias == nullptr) {
    kernels::add_rms_norm_forward(ctx.stream, in, more, order, w, eps, flat(h, g), flat(normed, g), rstd);
  } else {
    kernels::add_layer_norm_forward(ctx.stream, in, more, order, w, bias->value_slice(ctx.lo, ctx.hi), eps, flat(h, g),
                                    flat(normed, g), mean, rstd);
  }
  if (!ctx.recording()) return {h, normed};
  const AddNorm out{ctx.record->output(h, true), ctx.record->output(normed, true)};
  ctx.record->record(
      "add_norm", Saved{h, mean, rstd, order, &weight, bias, ctx.lo, ctx.hi, x.id, delta.id, out.h.id, out.normed.id},
      backward);
  return out;
}

}  // namespace

AddNorm add_norm(Context& ctx, const Var& x, const Var& delta, const Tensor& order, const Parameter& weight,
                 double eps) {
  return run(ctx, x, delta, order, weight, nullptr, eps);
}

AddNorm add_norm(Context& ctx, const Var& x, const Var& delta, const Tensor& order, const Parameter& weight,
                 const Parameter& bias, double eps) {
  return run(ctx, x, delta, order, weight, &bias, eps);
}

}  // namespace wt::ops
