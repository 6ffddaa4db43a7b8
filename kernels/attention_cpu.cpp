#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "kernels/eigen_cpu.h"
#include "kernels/flops_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rotary.h"

namespace wt::kernels::cpu {
namespace {

// Query rows handled at once: a block needs only the keys up to its last row, which saves nearly half of the square.
constexpr std::int64_t kBlock = 64;

// Turns the scores of rows [first, first + rows) into probabilities, in place; the log-denominators go to `lse`.
template <class T>
void causal_softmax(RowMajor<T>& scores, std::int64_t first, std::int64_t rows, T* lse) {
  for (std::int64_t i = 0; i < rows; ++i) {
    auto row = array(scores.data() + i * scores.cols(), first + i + 1);
    const T top = row.maxCoeff();
    row = (row - top).exp();
    const T sum = row.sum();
    row /= sum;
    if (lse != nullptr) lse[i] = top + std::log(sum);
    array(scores.data() + i * scores.cols() + first + i + 1, scores.cols() - first - i - 1).setZero();
  }
}

}  // namespace

void attention_forward(const Stream&, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                       const Tensor& lse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width;
  count_product_flops(2 * g * b * h * k * t * t);  // two products, halves of squares
  dispatch_real(qkv.dtype(), [&]<class T>() {
    const T scale = T(1) / std::sqrt(T(k));
    parallel_for(g * b * h, [&](std::int64_t task) {
      const std::int64_t sample = task / h, head = task % h;
      const T* base = qkv.data<T>() + sample * t * w;
      const auto keys = const_matrix(base + (h + head / (h / j)) * k, t, k, w);
      const auto values = const_matrix(base + (h + j + head / (h / j)) * k, t, k, w);
      RowMajor<T> scores;
      for (std::int64_t first = 0; first < t; first += kBlock) {
        const std::int64_t rows = std::min(kBlock, t - first);
        scores.resize(rows, first + rows);
        scores.noalias() =
            scale * const_matrix(base + first * w + head * k, rows, k, w) * keys.topRows(first + rows).transpose();
        causal_softmax<T>(scores, first, rows, lse.data<T>() + task * t + first);
        matrix(out.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k).noalias() =
            scores * values.topRows(first + rows);
      }
    });
  });
}

void attention_backward(const Stream&, const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                        const AttentionHeads& heads, const Tensor& dqkv) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width, group = h / j;
  count_product_flops(5 * g * b * h * k * t * t);  // five: the scores again, and four gradients
  dispatch_real(qkv.dtype(), [&]<class T>() {
    const T scale = T(1) / std::sqrt(T(k));
    parallel_for(g * b * j, [&](std::int64_t task) {
      const std::int64_t sample = task / j, kv_head = task % j;
      const T* base = qkv.data<T>() + sample * t * w;
      T* dbase = dqkv.data<T>() + sample * t * w;
      const auto keys = const_matrix(base + (h + kv_head) * k, t, k, w);
      const auto values = const_matrix(base + (h + j + kv_head) * k, t, k, w);
      auto dkeys = matrix(dbase + (h + kv_head) * k, t, k, w);
      auto dvalues = matrix(dbase + (h + j + kv_head) * k, t, k, w);
      dkeys.setZero();
      dvalues.setZero();
      RowMajor<T> p, ds;
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (std::int64_t first = 0; first < t; first += kBlock) {
          const std::int64_t rows = std::min(kBlock, t - first), cols = first + rows;
          const auto queries = const_matrix(base + first * w + head * k, rows, k, w);
          const auto grad = const_matrix(dout.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k);
          const auto value = const_matrix(out.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k);
          p.resize(rows, cols);
          ds.resize(rows, cols);
          p.noalias() = scale * queries * keys.topRows(cols).transpose();
          const T* log_sum = lse.data<T>() + (sample * h + head) * t + first;
          for (std::int64_t i = 0; i < rows; ++i) {
            auto row = array(p.data() + i * cols, first + i + 1);
            row = (row - log_sum[i]).exp();
            array(p.data() + i * cols + first + i + 1, cols - first - i - 1).setZero();
          }
          dvalues.topRows(cols).noalias() += p.transpose() * grad;
          ds.noalias() = grad * values.topRows(cols).transpose();
          for (std::int64_t i = 0; i < rows; ++i) {
            const T dot = grad.row(i).dot(value.row(i));
            auto row = array(ds.data() + i * cols, cols);
            row = const_array(p.data() + i * cols, cols) * (row - dot) * scale;
          }
          matrix(dbase + first * w + head * k, rows, k, w).noalias() = ds * keys.topRows(cols);
          dkeys.topRows(cols).noalias() += ds.transpose() * queries;
        }
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
    const T scale = T(1) / std::sqrt(T(k));
    parallel_for(b * j, [&](std::int64_t task) {
      const std::int64_t sample = task / j, kv_head = task % j;
      const std::int64_t before = length.data<std::int32_t>()[sample];
      const T* base = qkv.data<T>() + sample * t * w;
      T* key_rows = keys.data<T>() + (sample * capacity * j + kv_head) * k;
      T* value_rows = values.data<T>() + (sample * capacity * j + kv_head) * k;
      matrix(key_rows + before * j * k, t, k, j * k) = const_matrix(base + (h + kv_head) * k, t, k, w);
      matrix(value_rows + before * j * k, t, k, j * k) = const_matrix(base + (h + j + kv_head) * k, t, k, w);
      count_product_flops(2 * group * k * t * (2 * before + t));
      RowMajor<T> scores;
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (std::int64_t first = 0; first < t; first += kBlock) {
          const std::int64_t rows = std::min(kBlock, t - first), cols = before + first + rows;
          scores.resize(rows, cols);
          scores.noalias() = scale * const_matrix(base + first * w + head * k, rows, k, w) *
                             const_matrix<T>(key_rows, cols, k, j * k).transpose();
          causal_softmax<T>(scores, before + first, rows, nullptr);
          matrix(out.data<T>() + (sample * t + first) * h * k + head * k, rows, k, h * k).noalias() =
              scores * const_matrix<T>(value_rows, cols, k, j * k);
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
