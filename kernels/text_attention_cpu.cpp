#include <vector>

#include "kernels/attention_cpu.h"
#include "kernels/flops_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/text_attention.h"

namespace wt::kernels::cpu {
namespace {

// A cell's place in its cache: `rows` rows of the text are new, `past` lie before them, from row `origin` on.
struct TextRows {
  std::int64_t origin, past, rows;
};

std::vector<TextRows> text_rows(const char* op, const Cells& cells, std::int64_t t, std::int64_t capacity) {
  std::vector<TextRows> all;
  for (std::int64_t i = 0; i < cells.rows.numel(); ++i) {
    const std::int64_t open = cells.open.defined() ? cells.open.data<std::int32_t>()[i] : 0;
    const TextRows cell{cells.origin.data<std::int32_t>()[i], cells.past.data<std::int32_t>()[i] + open,
                        cells.rows.data<std::int32_t>()[i]};
    all.push_back(cell);
    if (cell.rows <= 0) continue;
    WT_CHECK(cell.rows <= t, op, ": ", cell.rows, " rows in use of ", t);
    WT_CHECK(cell.origin >= 0 && cell.past >= 0 && cell.origin + cell.past + cell.rows <= capacity, op, ": rows [",
             cell.origin + cell.past, ", ", cell.origin + cell.past + cell.rows, ") of a text from row ", cell.origin,
             " on, in a cache of ", capacity);
  }
  return all;
}

void count_flops(const std::vector<TextRows>& cells, const AttentionHeads& heads, std::int64_t products) {
  for (const TextRows& cell : cells) {
    if (cell.rows > 0)
      count_product_flops(products * heads.query * heads.width * cell.rows * (2 * cell.past + cell.rows));
  }
}

}  // namespace

void text_attention_forward(const Stream&, const Tensor& qkv, const AttentionHeads& heads, const Cells& cells,
                            const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& lse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), capacity = keys.dim(2);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width, group = h / j, width = j * k;
  const std::vector<TextRows> texts = text_rows("text attention", cells, t, capacity);
  count_flops(texts, heads, 2);
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_for(g * b, [&](std::int64_t cell) {
      const TextRows& text = texts[static_cast<std::size_t>(cell)];
      const std::int64_t rows = std::max<std::int64_t>(text.rows, 0);
      const T* from = qkv.data<T>() + cell * t * w + h * k;
      if (rows > 0) {
        const std::int64_t to = (cell * capacity + text.origin + text.past) * width;
        matrix(keys.data<T>() + to, rows, width, width) = const_matrix(from, rows, width, w);
        matrix(values.data<T>() + to, rows, width, width) = const_matrix(from + width, rows, width, w);
      }
      array(out.data<T>() + (cell * t + rows) * h * k, (t - rows) * h * k).setZero();
    });
    parallel_for(g * b * h, [&](std::int64_t task) {
      const std::int64_t cell = task / h, head = task % h;
      const TextRows& text = texts[static_cast<std::size_t>(cell)];
      const std::int64_t first_key = ((cell * capacity + text.origin) * j + head / group) * k;
      for_query_blocks(text.rows, [&](std::int64_t first, std::int64_t rows) {
        const std::int64_t before = text.past + first;
        attend<T>(const_matrix<T>(qkv.data<T>() + (cell * t + first) * w + head * k, rows, k, w),
                  const_matrix<T>(keys.data<T>() + first_key, before + rows, k, width),
                  const_matrix<T>(values.data<T>() + first_key, before + rows, k, width), before,
                  matrix(out.data<T>() + ((cell * t + first) * h + head) * k, rows, k, h * k),
                  lse.defined() ? lse.data<T>() + task * t + first : nullptr);
      });
    });
  });
}

void text_attention_backward(const Stream&, const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                             const AttentionHeads& heads, const Cells& cells, const Tensor& keys, const Tensor& values,
                             const Tensor& dkeys, const Tensor& dvalues, const Tensor& dqkv) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), capacity = keys.dim(2);
  const std::int64_t h = heads.query, j = heads.key_value, k = heads.width, group = h / j, width = j * k;
  const std::vector<TextRows> texts = text_rows("text attention backward", cells, t, capacity);
  count_flops(texts, heads, 5);
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_for(g * b * j, [&](std::int64_t task) {
      const std::int64_t cell = task / j, kv_head = task % j;
      const TextRows& text = texts[static_cast<std::size_t>(cell)];
      const T* base = qkv.data<T>() + cell * t * w;
      T* dbase = dqkv.data<T>() + cell * t * w;
      const std::int64_t first_key = ((cell * capacity + text.origin) * j + kv_head) * k;
      // The segment's own rows, complete once they have had their share of this segment, too.
      const std::int64_t own_key = (h + kv_head) * k, own_value = own_key + width;
      for (const auto& [column, later] : {std::pair{own_key, &dkeys}, std::pair{own_value, &dvalues}}) {
        auto own = matrix(dbase + column, t, k, w);
        own.setZero();
        if (text.rows <= 0 || !later->defined()) continue;
        own.topRows(text.rows) =
            const_matrix<T>(later->template data<T>() + first_key + text.past * width, text.rows, k, width);
      }
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        matrix(dbase + head * k, t, k, w).setZero();
        for_query_blocks(text.rows, [&](std::int64_t first, std::int64_t rows) {
          const std::int64_t at = ((cell * t + first) * h + head) * k, cols = first + rows;
          const auto grad = const_matrix<T>(dout.data<T>() + at, rows, k, h * k);
          const auto value = const_matrix<T>(out.data<T>() + at, rows, k, h * k);
          const auto queries = const_matrix(base + first * w + head * k, rows, k, w);
          const auto dqueries = matrix(dbase + first * w + head * k, rows, k, w);
          const T* log_sums = lse.data<T>() + (cell * h + head) * t + first;
          T* past_keys = dkeys.defined() ? dkeys.data<T>() + first_key : nullptr;
          T* past_values = dvalues.defined() ? dvalues.data<T>() + first_key : nullptr;
          attend_backward<T>(grad, queries, value, log_sums,
                             const_matrix<T>(keys.data<T>() + first_key, text.past, k, width),
                             const_matrix<T>(values.data<T>() + first_key, text.past, k, width), text.past, dqueries,
                             matrix(past_keys, text.past, k, width), matrix(past_values, text.past, k, width));
          attend_backward<T>(grad, queries, value, log_sums, const_matrix(base + own_key, cols, k, w),
                             const_matrix(base + own_value, cols, k, w), first, dqueries,
                             matrix(dbase + own_key, cols, k, w), matrix(dbase + own_value, cols, k, w));
        });
      }
    });
  });
}

}  // namespace wt::kernels::cpu
