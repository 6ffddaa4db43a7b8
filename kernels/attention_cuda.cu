#include "kernels/attention.h"
#include "kernels/attention_cudnn.h"
#include "kernels/attention_decode_cuda.cuh"
#include "kernels/attention_tiles_cuda.h"
#include "kernels/rotary.h"

// cuDNN takes most bf16 shapes (attention_cudnn.h), attention_decode_cuda.cu few rows over a long cache, and the tiles
// of attention_tiles_cuda.cu the rest, f32 above all.
namespace wt::kernels::cuda {

void attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse) {
  if (qkv.numel() == 0) return;
  if (cudnn_attends(qkv.dtype(), heads, qkv.dim(2))) return cudnn_attention_forward(stream, qkv, heads, out, lse);
  tiled_attention_forward("attention", stream, qkv, heads, {}, {}, own_rows(qkv.dim(2)), out, lse);
}

void attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv) {
  if (qkv.numel() == 0) return;
  if (cudnn_attends(qkv.dtype(), heads, qkv.dim(2))) {
    return cudnn_attention_backward(stream, dout, qkv, out, lse, heads, dqkv);
  }
  tiled_attention_backward("attention backward", stream, dout, qkv, out, lse, heads, {}, {}, own_rows(qkv.dim(2)), {},
                           {}, dqkv);
}

void attention_cached(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin) {
  const char* const op = "cached attention";
  const std::int64_t b = qkv.dim(0), t = qkv.dim(1);
  if (qkv.numel() == 0) return;
  const CacheRows rows = cached_rows(length, t, keys.dim(1));
  if (decode_attends(heads, t)) return decode_attention(op, stream, qkv, heads, rows, keys, values, out, {}, cos_sin);
  if (cos_sin.defined()) {
    rotary(stream, qkv.reshape({1, b, t, qkv.dim(2)}), heads.query + heads.key_value, cos_sin, length, false);
  }
  append_rows(op, stream, qkv, heads, rows, keys, values);
  tiled_attention_forward(op, stream, qkv, heads, keys, values, rows, out, {});
}

}  // namespace wt::kernels::cuda
