#include "autograd/ops/cross_entropy.h"

#include "kernels/cross_entropy.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor logits, target, lse;
  int logits_id, loss_id;
  std::vector<Tensor> tensors() const { return {logits, target, lse}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor dloss = pass.take(s.loss_id);
  if (!dloss.defined()) return;
  const auto [dlogits, mode] = pass.slot(s.logits_id, s.logits);
  if (mode == GradMode::kSkip) return;
  WT_CHECK(mode == GradMode::kOverwrite, "cross_entropy: its logits must not feed another op");
  kernels::cross_entropy_backward(pass.stream(), dloss, s.logits, s.target, s.lse, dlogits);
}

}  // namespace

CrossEntropy cross_entropy(Context& ctx, const Var& logits, const Tensor& target) {
  const OpScope scope("cross_entropy");
  const std::int64_t r = logits.value.dim(0);
  const Tensor loss = Tensor::empty(ctx.stream, {r}, wide(logits.value.dtype()));
  const Tensor lse = Tensor::empty(ctx.stream, {r}, wide(logits.value.dtype()));
  const Tensor correct = Tensor::empty(ctx.stream, {r}, DType::kU8);
  kernels::cross_entropy_forward(ctx.stream, logits.value, target, loss, lse, correct);
  if (!ctx.recording() || !logits.wants_grad()) return {loss, correct};
  const Var out = ctx.record->output(loss, true);
  ctx.record->record("cross_entropy", Saved{logits.value, target, lse, logits.id, out.id}, backward);
  return {out, correct};
}

}  // namespace wt::ops
