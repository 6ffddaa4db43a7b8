#include "kernels/attention_cpu.h"

#include "kernels/attention.h"
#include "kernels/flops_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rotary.h"

namespace wt::kernels::cpu {

void attention_forward(const Stream&, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width;
  count_product_flops(2 * g * b * h * k * t * t);  // two products, halves of squares
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_for(g * b * h, [&](std::int64_t task) {
      const std::int64_t sample = task / h, head = task % h;
      const T* base = qkv.data<T>() + sample * t * w;
      const T *keys = base + (h + head / (h / j)) * k, *values = keys + j * k;
      for_query_blocks(t, [&](std::int64_t first, std::int64_t rows) {
        attend<T>(const_matrix(base + first * w + head * k, rows, k, w), const_matrix(keys, first + rows, k, w),
                  const_matrix(values, first + rows, k, w), first,
                  matrix(out.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k),
                  lse.data<T>() + task * t + first);
      });
    });
  });
}

void attention_backward(const Stream&, const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                        const AttentionHeads& heads, const Tensor& dqkv) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width, group = h / j;
  count_product_flops(5 * g * b * h * k * t * t);  // five: the scores again, and four gradients
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_for(g * b * j, [&](std::int64_t task) {
      const std::int64_t sample = task / j, kv_head = task % j;
      const T* base = qkv.data<T>() + sample * t * w;
      T* dbase = dqkv.data<T>() + sample * t * w;
      const T *keys = base + (h + kv_head) * k, *values = keys + j * k;
      T *dkeys = dbase + (h + kv_head) * k, *dvalues = dkeys + j * k;
      matrix(dkeys, t, k, w).setZero();
      matrix(dvalues, t, k, w).setZero();
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        matrix(dbase + head * k, t, k, w).setZero();
        for_query_blocks(t, [&](std::int64_t first, std::int64_t rows) {
          const std::int64_t cols = first + rows, at = (sample * t + first) * h * k + head * k;
          attend_backward<T>(
              const_matrix(dout.data<T>() + at, rows, k, h * k), const_matrix(base + first * w + head * k, rows, k, w),
              const_matrix(out.data<T>() + at, rows, k, h * k), lse.data<T>() + (sample * h + head) * t + first,
              const_matrix(keys, cols, k, w), const_matrix(values, cols, k, w), first,
              matrix(dbase + first * w + head * k, rows, k, w), matrix(dkeys, cols, k, w), matrix(dvalues, cols, k, w));
        });
      }
    });
  });
}

void attention_cached(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& length,
                      const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& cos_sin) {
  const std::int64_t b = qkv.dim(0), t = qkv.dim(1), w = qkv.dim(2);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width, group = h / j;
  const std::int64_t capacity = keys.dim(1);
  for (std::int64_t i = 0; i < b; ++i) {
    const std::int64_t end = length.data<std::int32_t>()[i] + t;
    WT_CHECK(end <= capacity, "cached attention: ", end, " rows in a key/value cache of ", capacity);
  }
  if (cos_sin.defined()) rotary(stream, qkv.reshape({1, b, t, w}), h + j, cos_sin, length, false);
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_for(b * j, [&](std::int64_t task) {
      const std::int64_t sample = task / j, kv_head = task % j;
      const std::int64_t before = length.data<std::int32_t>()[sample];
      const T* base = qkv.data<T>() + sample * t * w;
      T* key_rows = keys.data<T>() + (sample * capacity * j + kv_head) * k;
      T* value_rows = values.data<T>() + (sample * capacity * j + kv_head) * k;
      matrix(key_rows + before * j * k, t, k, j * k) = const_matrix(base + (h + kv_head) * k, t, k, w);
      matrix(value_rows + before * j * k, t, k, j * k) = const_matrix(base + (h + j + kv_head) * k, t, k, w);
      count_product_flops(2 * group * k * t * (2 * before + t));
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for_query_blocks(t, [&](std::int64_t first, std::int64_t rows) {
          const std::int64_t cols = before + first + rows;
          attend<T>(const_matrix(base + first * w + head * k, rows, k, w), const_matrix<T>(key_rows, cols, k, j * k),
                    const_matrix<T>(value_rows, cols, k, j * k), before + first,
                    matrix(out.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k), nullptr);
        });
      }
    });
  });
}

}  // namespace wt::kernels::cpu
