#include "autograd/ops/attention.h"

namespace wt::ops {
namespace {

struct RotarySaved {
  Tensor cos_sin, first;
  kernels::RotaryOptions options;
  std::int64_t heads;
  int id;
  std::vector<Tensor> tensors() const { return {}; }  // the table is shared by all waves
};

void rotary_backward(BackwardPass& pass, const RotarySaved& s) {
  const Tensor grad = pass.take(s.id);
  if (!grad.defined()) return;
  kernels::rotary(pass.stream(), grad, s.heads, s.cos_sin, s.first, true, s.options);
  pass.pass(s.id, grad);  // same Var before and after: the value was turned in place, so is the gradient
}

struct AttentionSaved {
  Tensor qkv, out, lse;
  kernels::AttentionHeads heads;
  int qkv_id, out_id;
  std::vector<Tensor> tensors() const { return {qkv, out, lse}; }
};

void attention_backward(BackwardPass& pass, const AttentionSaved& s) {
  const Tensor dout = pass.take(s.out_id);
  if (!dout.defined()) return;
  const auto [dqkv, mode] = pass.slot(s.qkv_id, s.qkv);
  if (mode == GradMode::kSkip) return;
  WT_CHECK(mode == GradMode::kOverwrite, "attention: its input must not feed another op");
  kernels::attention_backward(pass.stream(), dout, s.qkv, s.out, s.lse, s.heads, dqkv);
}

}  // namespace

Var rotary(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads, const Tensor& cos_sin,
           const Tensor& first, const kernels::RotaryOptions& options) {
  const OpScope scope("rotary");
  const std::int64_t turned = heads.query + heads.key_value;
  kernels::RotaryOptions of_heads = options;
  of_heads.head_width = heads.width;
  kernels::rotary(ctx.stream, qkv.value, turned, cos_sin, first, false, of_heads);
  if (ctx.recording() && qkv.wants_grad()) {
    ctx.record->record("rotary", RotarySaved{cos_sin, first, of_heads, turned, qkv.id}, rotary_backward);
  }
  return qkv;
}

Var attention(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads) {
  const OpScope scope("attention");
  const Shape& s = qkv.value.shape();
  const Tensor out = Tensor::empty(ctx.stream, {s[0], s[1], s[2], heads.query * heads.width}, qkv.value.dtype());
  const Tensor lse = Tensor::empty(ctx.stream, {s[0], s[1], heads.query, s[2]}, wide(qkv.value.dtype()));
  kernels::attention_forward(ctx.stream, qkv.value, heads, out, lse);
  if (!ctx.recording()) return out;
  const Var result = ctx.record->output(out, qkv.wants_grad());
  if (result.wants_grad()) {
    ctx.record->record("attention", AttentionSaved{qkv.value, out, lse, heads, qkv.id, result.id}, attention_backward);
  }
  return result;
}

}  // namespace wt::ops
