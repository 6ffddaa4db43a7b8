// Where a cell's new rows lie in a cache of keys and values, as only the GPU's memory knows it.
#pragma once

#include "kernels/attention.h"
#include "kernels/cells.h"
#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {

// Legend as in kernels/text_attention.h. Of each cell, by number; null: 0, 0, 0, and all T rows.
struct CacheRows {
  const std::int32_t *origin = nullptr, *past = nullptr, *open = nullptr, *rows = nullptr;
  int new_rows = 0;  // T
  int capacity = 0;  // C
  Fault fault = Fault::kNone;
  std::int32_t* fault_word = nullptr;

  // The text begins at row `origin`; `rows` new ones follow on `before` old ones.
  struct Place {
    int origin, before, rows;
    __device__ int end() const { return before + rows; }
  };
  // A cell without rows, or whose rows the cache does not have, which is a fault, has none of any sort.
  __device__ Place of(std::int64_t cell) const {
    const int count = rows == nullptr ? new_rows : min(rows[cell], new_rows);
    if (count <= 0) return {0, 0, 0};
    const std::int64_t first = origin == nullptr ? 0 : origin[cell];
    std::int64_t before = past == nullptr ? 0 : past[cell];
    if (open != nullptr) before += open[cell];
    if (first < 0 || before < 0 || first + before + count > capacity) {
      report(fault_word, fault);
      return {0, 0, 0};
    }
    return {static_cast<int>(first), static_cast<int>(before), count};
  }
};

// The rows of a tensor (…, T, W) themselves: no cache, nothing before them.
inline CacheRows own_rows(std::int64_t rows) {
  WT_CHECK(rows < std::int64_t{1} << 30, "attention: ", rows, " rows are too many");
  CacheRows all;
  all.new_rows = all.capacity = static_cast<int>(rows);
  return all;
}

// `rows` new rows behind length_B ones of attention_cached's caches.
inline CacheRows cached_rows(const Tensor& length, std::int64_t rows, std::int64_t capacity) {
  WT_CHECK(capacity < std::int64_t{1} << 30, "cached attention: a key/value cache of ", capacity, " rows");
  CacheRows all = own_rows(rows);
  all.past = length.data<std::int32_t>();
  all.capacity = static_cast<int>(capacity);
  all.fault = Fault::kCacheRow;
  all.fault_word = wt::cuda::fault_word();
  return all;
}

// Those of a wave's cells in their texts.
inline CacheRows text_rows(const Cells& cells, std::int64_t rows, std::int64_t capacity) {
  WT_CHECK(capacity < std::int64_t{1} << 30, "text attention: a cache of ", capacity, " rows");
  CacheRows all = own_rows(rows);
  all.origin = cells.origin.data<std::int32_t>();
  all.past = cells.past.data<std::int32_t>();
  all.open = cells.open.defined() ? cells.open.data<std::int32_t>() : nullptr;
  all.rows = cells.rows.data<std::int32_t>();
  all.capacity = static_cast<int>(capacity);
  all.fault = Fault::kTextRow;
  all.fault_word = wt::cuda::fault_word();
  return all;
}

// The keys and values of the rows in use into their places in the caches.
void append_rows(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                 const CacheRows& rows, const Tensor& keys, const Tensor& values);

// Zero into the rows of x (…, T, W) that are not in use.
void clear_padding(const char* op, const Stream& stream, const CacheRows& rows, const Tensor& x);

}  // namespace wt::kernels::cuda
