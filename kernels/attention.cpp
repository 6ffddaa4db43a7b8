#include "kernels/attention.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

void check_heads(const char* op, const Tensor& qkv, const AttentionHeads& heads) {
  WT_CHECK(heads.query > 0 && heads.key_value > 0 && heads.width > 0 && heads.query % heads.key_value == 0, op, ": ",
           heads.query, " query heads do not divide into ", heads.key_value, " key/value heads");
  WT_CHECK(qkv.shape()[-1] == heads.row_width(), op, ": qkv is ", qkv, ", expected rows of ", heads.row_width());
}

WT_BACKENDS(attention_forward)
WT_BACKENDS(attention_backward)
WT_BACKENDS(attention_cached)

void attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse) {
  check_heads("attention", qkv, heads);
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), h = heads.query, k = heads.width;
  WT_CHECK_SHAPE("attention", out, g, b, t, h * k);
  WT_CHECK_SHAPE("attention", lse, g, b, h, t);
  WT_RUN(kAttention, attention_forward, stream, qkv, heads, out, lse);
}

void attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv) {
  check_heads("attention backward", qkv, heads);
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), h = heads.query, k = heads.width;
  WT_CHECK_SHAPE("attention backward", dout, g, b, t, h * k);
  WT_CHECK_SHAPE("attention backward", out, g, b, t, h * k);
  WT_CHECK_SHAPE("attention backward", lse, g, b, h, t);
  WT_CHECK_SHAPE("attention backward", dqkv, g, b, t, w);
  WT_RUN(kAttention, attention_backward, stream, dout, qkv, out, lse, heads, dqkv);
}

void attention_cached(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin) {
  check_heads("cached attention", qkv, heads);
  const std::int64_t b = qkv.dim(0), t = qkv.dim(1), capacity = keys.dim(1);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width;
  WT_CHECK_SHAPE("cached attention", length, b);
  WT_CHECK_SHAPE("cached attention", keys, b, capacity, j, k);
  WT_CHECK_SHAPE("cached attention", values, b, capacity, j, k);
  WT_CHECK_SHAPE("cached attention", out, b, t, h * k);
  WT_CHECK(t <= capacity, "cached attention: ", t, " rows in a key/value cache of ", capacity);
  WT_CHECK(!cos_sin.defined() || (k % 2 == 0 && cos_sin.shape().rank() == 2 && cos_sin.dim(1) == k),
           "cached attention: a table of angles ", cos_sin.shape(), " for heads of width ", k);
  WT_RUN(kAttention, attention_cached, stream, qkv, heads, length, keys, values, out, cos_sin);
}

}  // namespace wt::kernels
