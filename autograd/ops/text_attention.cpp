#include "autograd/ops/text_attention.h"

namespace wt::ops {
namespace {

struct TextAttentionSaved {
  Tensor qkv, out, lse, keys, values;
  kernels::AttentionHeads heads;
  kernels::Cells cells;
  int qkv_id, keys_id, values_id, out_id, next_keys_id, next_values_id;
  std::vector<Tensor> tensors() const { return {qkv, out, lse}; }  // the cache belongs to all waves
};

void text_attention_backward(BackwardPass& pass, const TextAttentionSaved& s) {
  const Stream& stream = pass.stream();
  Tensor dout = pass.take(s.out_id), dkeys = pass.take(s.next_keys_id), dvalues = pass.take(s.next_values_id);
  if (!dout.defined() && !dkeys.defined() && !dvalues.defined()) return;
  if (!dout.defined()) dout = Tensor::zeros(stream, s.out.shape(), s.out.dtype());
  const bool wanted = s.keys_id >= 0 || s.values_id >= 0;
  if (wanted || dkeys.defined() || dvalues.defined()) {
    const DType dtype = wide(s.keys.dtype());
    if (!dkeys.defined()) dkeys = Tensor::zeros(stream, s.keys.shape(), dtype);
    if (!dvalues.defined()) dvalues = Tensor::zeros(stream, s.values.shape(), dtype);
  }
  auto [dqkv, mode] = pass.slot(s.qkv_id, s.qkv);
  WT_CHECK(mode != GradMode::kAccumulate, "text_attention: its input must not feed another op");
  if (mode == GradMode::kSkip) dqkv = Tensor::empty(stream, s.qkv.shape(), s.qkv.dtype());
  kernels::text_attention_backward(stream, dout, s.qkv, s.out, s.lse, s.heads, s.cells, s.keys, s.values, dkeys,
                                   dvalues, dqkv);
  pass.pass(s.keys_id, dkeys);
  pass.pass(s.values_id, dvalues);
}

}  // namespace

TextAttention text_attention(Context& ctx, const Var& qkv, const kernels::AttentionHeads& heads, const TextState& state,
                             const kernels::Cells& cells) {
  const OpScope scope("text_attention");
  const Shape& s = qkv.value.shape();
  const Tensor &keys = state.keys.value, &values = state.values.value;
  const Tensor out = Tensor::empty(ctx.stream, {s[0], s[1], s[2], heads.query * heads.width}, qkv.value.dtype());
  const bool wanted = ctx.recording() && (qkv.wants_grad() || state.keys.wants_grad() || state.values.wants_grad());
  const Tensor lse =
      wanted ? Tensor::empty(ctx.stream, {s[0], s[1], heads.query, s[2]}, wide(qkv.value.dtype())) : Tensor{};
  kernels::text_attention_forward(ctx.stream, qkv.value, heads, cells, keys, values, out, lse);
  if (!wanted) return {out, {keys, values}};
  const TextAttention result{ctx.record->output(out, true),
                             {ctx.record->output(keys, true), ctx.record->output(values, true)}};
  ctx.record->record("text_attention",
                     TextAttentionSaved{qkv.value, out, lse, keys, values, heads, cells, qkv.id, state.keys.id,
                                        state.values.id, result.out.id, result.next.keys.id, result.next.values.id},
                     text_attention_backward);
  return result;
}

}  // namespace wt::ops
