// Attention of a block of query rows of one head: what all attention on the CPU is made of. Keys are taken in blocks
// too, so that the work memory does not grow with them; softmax as they go by (Milakov and Gimelshein, arXiv
// 1805.02867). Included by *_cpu.cpp files only.
// Legend: R query rows, S keys, K head width. Row i attends the first `before` + i + 1 keys, or all where that is more.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/eigen_cpu.h"

namespace wt::kernels::cpu {

// Query rows handled at once: a block needs only the keys up to its last row, which saves nearly half of the square.
inline constexpr std::int64_t kQueryBlock = 64;
// Keys handled at once: half a megabyte of scores at most.
inline constexpr std::int64_t kKeyBlock = 512;

// Calls body(first, count) for the blocks of [0, rows).
template <class Body>
void for_query_blocks(std::int64_t rows, const Body& body) {
  for (std::int64_t first = 0; first < rows; first += kQueryBlock) body(first, std::min(kQueryBlock, rows - first));
}

template <class T>
T attention_scale(std::int64_t width) {
  return T(1) / std::sqrt(T(width));
}

// queries_RK, keys_SK, values_SK -> out_RK, and lse_R (may be null): logs of the softmax's denominators. R is at most
// kQueryBlock.
template <class T>
void attend(const ConstMatrixMap<T>& queries, const ConstMatrixMap<T>& keys, const ConstMatrixMap<T>& values,
            std::int64_t before, MatrixMap<T> out, T* lse) {
  const std::int64_t rows = queries.rows();
  const T scale = attention_scale<T>(queries.cols());
  std::array<T, kQueryBlock> top, sum{};
  top.fill(-std::numeric_limits<T>::infinity());
  RowMajor<T> scores;
  for (std::int64_t first = 0; first < keys.rows(); first += kKeyBlock) {
    const std::int64_t cols = std::min(kKeyBlock, keys.rows() - first);
    scores.resize(rows, cols);
    scores.noalias() = scale * queries * keys.middleRows(first, cols).transpose();
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t seen = std::clamp<std::int64_t>(before + i + 1 - first, 0, cols);
      array(scores.data() + i * cols + seen, cols - seen).setZero();
      if (seen == 0) continue;
      auto row = array(scores.data() + i * cols, seen);
      const auto at = static_cast<std::size_t>(i);
      const T largest = std::max<T>(top[at], row.maxCoeff());
      row = (row - largest).exp();
      const T factor = std::exp(top[at] - largest);
      top[at] = largest;
      sum[at] = sum[at] * factor + row.sum();
      if (first > 0) out.row(i) *= factor;
    }
    if (first == 0) {
      out.noalias() = scores * values.topRows(cols);
    } else {
      out.noalias() += scores * values.middleRows(first, cols);
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out.row(i) /= sum[at];
    if (lse != nullptr) lse[i] = top[at] + std::log(sum[at]);
  }
}

// Adds to dqueries_RK, dkeys_SK and dvalues_SK what these keys give and get (the latter two without memory: not
// wanted). Probabilities are computed again from lse_R.
template <class T>
void attend_backward(const ConstMatrixMap<T>& dout, const ConstMatrixMap<T>& queries, const ConstMatrixMap<T>& out,
                     const T* lse, const ConstMatrixMap<T>& keys, const ConstMatrixMap<T>& values, std::int64_t before,
                     MatrixMap<T> dqueries, MatrixMap<T> dkeys, MatrixMap<T> dvalues) {
  const std::int64_t rows = queries.rows();
  const T scale = attention_scale<T>(queries.cols());
  std::array<T, kQueryBlock> dot{};
  for (std::int64_t i = 0; i < rows; ++i) dot[static_cast<std::size_t>(i)] = dout.row(i).dot(out.row(i));
  RowMajor<T> p, ds;
  for (std::int64_t first = 0; first < keys.rows(); first += kKeyBlock) {
    const std::int64_t cols = std::min(kKeyBlock, keys.rows() - first);
    p.resize(rows, cols);
    ds.resize(rows, cols);
    p.noalias() = scale * queries * keys.middleRows(first, cols).transpose();
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t seen = std::clamp<std::int64_t>(before + i + 1 - first, 0, cols);
      auto row = array(p.data() + i * cols, seen);
      row = (row - lse[i]).exp();
      array(p.data() + i * cols + seen, cols - seen).setZero();
    }
    if (dvalues.data() != nullptr) dvalues.middleRows(first, cols).noalias() += p.transpose() * dout;
    ds.noalias() = dout * values.middleRows(first, cols).transpose();
    for (std::int64_t i = 0; i < rows; ++i) {
      auto row = array(ds.data() + i * cols, cols);
      row = const_array(p.data() + i * cols, cols) * (row - dot[static_cast<std::size_t>(i)]) * scale;
    }
    dqueries.noalias() += ds * keys.middleRows(first, cols);
    if (dkeys.data() != nullptr) dkeys.middleRows(first, cols).noalias() += ds.transpose() * queries;
  }
}

}  // namespace wt::kernels::cpu
