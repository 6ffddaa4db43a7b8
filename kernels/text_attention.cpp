#include "kernels/text_attention.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_text(const char* op, const Tensor& qkv, const AttentionHeads& heads, const Cells& cells, const Tensor& keys,
                const Tensor& values) {
  WT_CHECK(qkv.shape().rank() == 4, op, ": qkv is ", qkv);
  check_heads(op, qkv, heads);
  WT_CHECK(keys.shape().rank() == 5, op, ": keys are ", keys);
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), c = keys.dim(2), j = heads.key_value, k = heads.width;
  WT_CHECK_SHAPE(op, keys, g, b, c, j, k);
  WT_CHECK_SHAPE(op, values, g, b, c, j, k);
  WT_CHECK(cells.past.defined() && cells.origin.defined(), op, ": cells without past and origin");
  WT_CHECK_SHAPE(op, cells.rows, g, b);
  WT_CHECK_SHAPE(op, cells.past, g, b);
  WT_CHECK_SHAPE(op, cells.origin, g, b);
  if (cells.open.defined()) WT_CHECK_SHAPE(op, cells.open, g, b);
}

}  // namespace

WT_BACKENDS(text_attention_forward)
WT_BACKENDS(text_attention_backward)

void text_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Cells& cells,
                            const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& lse) {
  const char* op = "text attention";
  check_text(op, qkv, heads, cells, keys, values);
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), h = heads.query, k = heads.width;
  WT_CHECK_SHAPE(op, out, g, b, t, h * k);
  if (lse.defined()) WT_CHECK_SHAPE(op, lse, g, b, h, t);
  WT_RUN(kAttention, text_attention_forward, stream, qkv, heads, cells, keys, values, out, lse);
}

void text_attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                             const Tensor& lse, const AttentionHeads& heads, const Cells& cells, const Tensor& keys,
                             const Tensor& values, const Tensor& dkeys, const Tensor& dvalues, const Tensor& dqkv) {
  const char* op = "text attention backward";
  check_text(op, qkv, heads, cells, keys, values);
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), h = heads.query, k = heads.width;
  WT_CHECK_SHAPE(op, dout, g, b, t, h * k);
  WT_CHECK_SHAPE(op, out, g, b, t, h * k);
  WT_CHECK_SHAPE(op, lse, g, b, h, t);
  WT_CHECK_SHAPE(op, dqkv, g, b, t, w);
  WT_CHECK(dkeys.defined() == dvalues.defined(), op, ": dkeys and dvalues go together");
  if (dkeys.defined()) {
    WT_CHECK_SHAPE(op, dkeys, g, b, keys.dim(2), heads.key_value, k);
    WT_CHECK_SHAPE(op, dvalues, g, b, keys.dim(2), heads.key_value, k);
  }
  WT_RUN(kAttention, text_attention_backward, stream, dout, qkv, out, lse, heads, cells, keys, values, dkeys, dvalues,
         dqkv);
}

}  // namespace wt::kernels
