// One name for every device: each kernel runs where its stream is. A backend defines the functions of the public
// headers in its own namespace (cpu, cuda) with the same parameters; a signature that differs does not link.
#include "core/cuda.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/argmax.h"
#include "kernels/attention.h"
#include "kernels/cast.h"
#include "kernels/checks.h"
#include "kernels/cross_entropy.h"
#include "kernels/dpfp.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "kernels/linear_fused.h"
#include "kernels/profile.h"
#include "kernels/rotary.h"
#include "kernels/rows.h"
#include "kernels/sample.h"

namespace wt::kernels {

// `decltype` of a function declares a function of that type.
#define WT_BACKENDS(name)       \
  namespace cpu {               \
  decltype(kernels::name) name; \
  }                             \
  namespace cuda {              \
  decltype(kernels::name) name; \
  }
#ifdef WAVETAPE_CUDA
#define WT_RUN(name, stream, ...)                    \
  const detail::ProfileScope scope(#name, stream);   \
  if ((stream).device().is_cuda()) {                 \
    ::wt::cuda::use_device((stream).device().index); \
    return cuda::name(stream, __VA_ARGS__);          \
  }                                                  \
  return cpu::name(stream, __VA_ARGS__)
#else
// Without CUDA there is no way to come by a CUDA stream (core/device.h).
#define WT_RUN(name, stream, ...)                  \
  const detail::ProfileScope scope(#name, stream); \
  return cpu::name(stream, __VA_ARGS__)
#endif

WT_BACKENDS(swiglu_forward)
WT_BACKENDS(swiglu_backward)
WT_BACKENDS(gelu_forward)
WT_BACKENDS(gelu_backward)
WT_BACKENDS(sum_of_squares)
WT_BACKENDS(adamw)
WT_BACKENDS(argmax_rows)
WT_BACKENDS(sample_rows)
WT_BACKENDS(attention_forward)
WT_BACKENDS(attention_backward)
WT_BACKENDS(attention_cached)
WT_BACKENDS(cast)
WT_BACKENDS(split_float)
WT_BACKENDS(join_float)
WT_BACKENDS(cross_entropy_forward)
WT_BACKENDS(cross_entropy_backward)
WT_BACKENDS(dpfp_forward)
WT_BACKENDS(dpfp_backward)
WT_BACKENDS(dropout)
WT_BACKENDS(embedding_forward)
WT_BACKENDS(embedding_backward)
WT_BACKENDS(layer_norm_forward)
WT_BACKENDS(layer_norm_backward)
WT_BACKENDS(linear_forward)
WT_BACKENDS(linear_fused)
WT_BACKENDS(linear_backward_input)
WT_BACKENDS(linear_backward_weight)
WT_BACKENDS(linear_backward_bias)
WT_BACKENDS(memory_read_forward)
WT_BACKENDS(memory_read_backward)
WT_BACKENDS(memory_write_forward)
WT_BACKENDS(memory_write_backward)
WT_BACKENDS(rms_norm_forward)
WT_BACKENDS(rms_norm_backward)
WT_BACKENDS(rotary)
WT_BACKENDS(take_rows_forward)
WT_BACKENDS(take_rows_backward)
WT_BACKENDS(gather_rows)
WT_BACKENDS(scatter_add_rows)
WT_BACKENDS(put_rows)
WT_BACKENDS(add)
WT_BACKENDS(scale)

void swiglu_forward(const Stream& stream, const Tensor& gate_up, const Tensor& out) {
  WT_RUN(swiglu_forward, stream, gate_up, out);
}
void swiglu_backward(const Stream& stream, const Tensor& dout, const Tensor& gate_up, const Tensor& dgate_up) {
  WT_RUN(swiglu_backward, stream, dout, gate_up, dgate_up);
}
void gelu_forward(const Stream& stream, const Tensor& x, const Tensor& out) {
  WT_RUN(gelu_forward, stream, x, out);
}
void gelu_backward(const Stream& stream, const Tensor& dout, const Tensor& x, const Tensor& dx) {
  WT_RUN(gelu_backward, stream, dout, x, dx);
}
void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out) {
  WT_RUN(sum_of_squares, stream, g, out);
}
void adamw(const Stream& stream, const AdamWStep& options, const Tensor& dw, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& low) {
  WT_RUN(adamw, stream, options, dw, m, v, w, low);
}
void argmax_rows(const Stream& stream, const Tensor& x, const Tensor& index) {
  WT_RUN(argmax_rows, stream, x, index);
}
void sample_rows(const Stream& stream, const Tensor& x, double temperature, double top_p, const Tensor& uniform,
                 const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  WT_CHECK_SHAPE("sample", x, r, v);
  WT_CHECK_SHAPE("sample", uniform, r);
  WT_CHECK_SHAPE("sample", index, r);
  WT_CHECK(v > 0, "sample: x is ", x, ", its rows are empty");
  WT_CHECK(temperature > 0 && top_p > 0 && top_p <= 1, "sample: temperature ", temperature, " and top_p ", top_p,
           ", expected above 0, and the latter at most 1");
  WT_RUN(sample_rows, stream, x, temperature, top_p, uniform, index);
}
void attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse) {
  WT_RUN(attention_forward, stream, qkv, heads, out, lse);
}
void attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv) {
  WT_RUN(attention_backward, stream, dout, qkv, out, lse, heads, dqkv);
}
void attention_cached(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin) {
  WT_RUN(attention_cached, stream, qkv, heads, length, keys, values, out, cos_sin);
}
void cast(const Stream& stream, const Tensor& x, const Tensor& y) {
  WT_RUN(cast, stream, x, y);
}
void split_float(const Stream& stream, const Tensor& x, const Tensor& high, const Tensor& low) {
  WT_RUN(split_float, stream, x, high, low);
}
void join_float(const Stream& stream, const Tensor& high, const Tensor& low, const Tensor& x) {
  WT_RUN(join_float, stream, high, low, x);
}
void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& target, const Tensor& loss,
                           const Tensor& lse, const Tensor& correct) {
  WT_RUN(cross_entropy_forward, stream, logits, target, loss, lse, correct);
}
void cross_entropy_backward(const Stream& stream, const Tensor& dloss, const Tensor& logits, const Tensor& target,
                            const Tensor& lse, const Tensor& dlogits) {
  WT_RUN(cross_entropy_backward, stream, dloss, logits, target, lse, dlogits);
}
void dpfp_forward(const Stream& stream, const Tensor& x, std::int64_t nu, const Tensor& phi) {
  WT_RUN(dpfp_forward, stream, x, nu, phi);
}
void dpfp_backward(const Stream& stream, const Tensor& dphi, const Tensor& x, std::int64_t nu, const Tensor& dx) {
  WT_RUN(dpfp_backward, stream, dphi, x, nu, dx);
}
void dropout(const Stream& stream, const Tensor& x, const Tensor& cell, double p, const DropoutKey& key,
             const Tensor& y) {
  WT_RUN(dropout, stream, x, cell, p, key, y);
}
void embedding_forward(const Stream& stream, const Tensor& rows, const Tensor& position, const Tensor& table,
                       const Tensor& memory, const Tensor& positions, const Tensor& out) {
  WT_RUN(embedding_forward, stream, rows, position, table, memory, positions, out);
}
void embedding_backward(const Stream& stream, const Tensor& dout, const Tensor& rows, const Tensor& position,
                        const Tensor& dtable, const Tensor& dmemory, const Tensor& dpositions) {
  WT_RUN(embedding_backward, stream, dout, rows, position, dtable, dmemory, dpositions);
}
void layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  check_layer_norm_forward(x, w, b, y, mean, rstd);
  WT_RUN(layer_norm_forward, stream, x, w, b, eps, y, mean, rstd);
}
void layer_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db) {
  check_layer_norm_backward(dy, x, w, mean, rstd, dx, dx_mode, dw, db);
  WT_RUN(layer_norm_backward, stream, dy, x, w, mean, rstd, dx, dx_mode, dw, db);
}
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const Tensor& bias,
                    const Tensor& residual, const Tensor& y, bool constant_weight) {
  check_linear_forward(x, y, w, layout, bias, residual);
  WT_RUN(linear_forward, stream, x, w, layout, bias, residual, y, constant_weight);
}
void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y) {
  WT_RUN(linear_fused, stream, x, w, layout, parts, y);
}
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, WeightLayout layout,
                           const Tensor& dx, GradMode mode) {
  if (mode == GradMode::kSkip) return;
  check_linear("linear backward", dx, dy, w, layout);
  WT_RUN(linear_backward_input, stream, dy, w, layout, dx, mode);
}
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, WeightLayout layout,
                            const Tensor& dw) {
  check_linear("linear backward", x, dy, dw, layout);
  WT_RUN(linear_backward_weight, stream, dy, x, layout, dw);
}
void linear_backward_bias(const Stream& stream, const Tensor& dy, const Tensor& dbias) {
  WT_CHECK_SHAPE("linear backward", dbias, dy.dim(0), dy.dim(2));
  WT_RUN(linear_backward_bias, stream, dy, dbias);
}
void memory_read_forward(const Stream& stream, const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z,
                         const Cells& cells, const Tensor& y, const Tensor& den, const Tensor& min_den) {
  check_memory_read_forward(x, phi, a, z, cells, y, den);
  WT_RUN(memory_read_forward, stream, x, phi, a, z, cells, y, den, min_den);
}
void memory_read_backward(const Stream& stream, const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                          const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da, const Tensor& dz,
                          GradMode state_mode) {
  check_memory_read_backward(dy, phi, a, z, den, cells, dphi, da, dz, state_mode);
  WT_RUN(memory_read_backward, stream, dy, phi, a, z, den, cells, dphi, da, dz, state_mode);
}
void memory_write_forward(const Stream& stream, const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a,
                          const Tensor& z, const Cells& cells, bool correction, const Tensor& a_out,
                          const Tensor& z_out, const MemoryWrite& saved, const Tensor& min_den) {
  check_memory_write_forward(k, v, b, a, z, cells, a_out, z_out, saved);
  WT_RUN(memory_write_forward, stream, k, v, b, a, z, cells, correction, a_out, z_out, saved, min_den);
}
void memory_write_backward(const Stream& stream, const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                           const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                           const Tensor& dk, const Tensor& dv, const Tensor& db) {
  check_memory_write_backward(k, b, a, z, saved, cells, da, dz, dk, dv, db);
  WT_RUN(memory_write_backward, stream, k, b, a, z, saved, cells, da, dz, dk, dv, db);
}
void rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd) {
  check_rms_norm_forward(x, w, y, rstd);
  WT_RUN(rms_norm_forward, stream, x, w, eps, y, rstd);
}
void rms_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw) {
  check_rms_norm_backward(dy, x, w, rstd, dx, dx_mode, dw);
  WT_RUN(rms_norm_backward, stream, dy, x, w, rstd, dx, dx_mode, dw);
}
void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first,
            bool inverse) {
  WT_RUN(rotary, stream, qkv, heads, cos_sin, first, inverse);
}
void take_rows_forward(const Stream& stream, const Tensor& x, const Tensor& first, const Tensor& out) {
  WT_RUN(take_rows_forward, stream, x, first, out);
}
void take_rows_backward(const Stream& stream, const Tensor& dout, const Tensor& first, const Tensor& dx,
                        GradMode mode) {
  WT_RUN(take_rows_backward, stream, dout, first, dx, mode);
}
void gather_rows(const Stream& stream, const Tensor& x, const Tensor& index, const Tensor& out) {
  WT_RUN(gather_rows, stream, x, index, out);
}
void scatter_add_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  WT_RUN(scatter_add_rows, stream, values, index, x);
}
void put_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  WT_RUN(put_rows, stream, values, index, x);
}
void add(const Stream& stream, const Tensor& x, const Tensor& y) {
  WT_RUN(add, stream, x, y);
}
void scale(const Stream& stream, double factor, const Tensor& y) {
  WT_RUN(scale, stream, factor, y);
}

#undef WT_RUN
#undef WT_BACKENDS

}  // namespace wt::kernels
