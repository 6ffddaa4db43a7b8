// What the scan's forward and backward share on the CPU: how the work is cut, and what a task reads. Legend: ssd.h.
// Included by *_cpu.cpp files only.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/eigen_cpu.h"
#include "kernels/flops_cpu.h"
#include "kernels/ssd.h"

namespace wt::kernels::cpu {

// Heads of one group that are a task: c bᵀ is made once for them, and each product with their states is one.
inline constexpr std::int64_t kSsdHeads = 4;
// Rows of a chunk's (Q, Q) products that are made at once: a block needs only the columns up to its last row.
inline constexpr std::int64_t kSsdBlock = 64;

template <class T>
using Column = Eigen::Array<T, Eigen::Dynamic, 1>;

template <class T>
Column<T> softplus(const Column<T>& v) {
  return v.max(T(0)) + (-v.abs()).exp().log1p();
}

// Heads [head, head + heads) of one cell, all of one group, and the rows that the cell uses.
struct SsdTask {
  std::int64_t index, cell, layer, group, head, heads, rows;
};

// How a call is cut into tasks, by its shapes alone.
struct SsdPlan {
  SsdPlan(const SsdShape& given, const Tensor& xbc, const Cells& given_cells)
      : shape(given),
        cells(xbc.dim(0) * xbc.dim(1)),
        b(xbc.dim(1)),
        t(xbc.dim(2)),
        group_heads(shape.heads / shape.groups),
        group_tasks((group_heads + kSsdHeads - 1) / kSsdHeads),
        used(given_cells.rows.data<std::int32_t>()) {}

  SsdShape shape;
  std::int64_t cells, b, t;
  std::int64_t group_heads, group_tasks;  // of one group of one cell
  const std::int32_t* used;

  std::int64_t tasks() const { return cells * shape.groups * group_tasks; }
  std::int64_t rows(std::int64_t cell) const { return std::clamp<std::int64_t>(used[cell], 0, t); }
  SsdTask task(std::int64_t index) const {
    const std::int64_t cell = index / (shape.groups * group_tasks), group = index / group_tasks % shape.groups;
    const std::int64_t first = index % group_tasks * kSsdHeads, heads = std::min(kSsdHeads, group_heads - first);
    return {index, cell, cell / b, group, group * group_heads + first, heads, rows(cell)};
  }
  // Products of a chunk's rows with each other, of which half counts (kernels/flops_cpu.h): so many with N terms a
  // group and with P terms a head; and products of rows with states.
  void count_flops(std::int64_t of_groups, std::int64_t of_heads, std::int64_t of_states) const {
    std::int64_t pairs = 0, all_rows = 0;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const std::int64_t rest = rows(cell) % shape.chunk;
      pairs += (rows(cell) - rest) * shape.chunk + rest * rest;
      all_rows += rows(cell);
    }
    count_product_flops(pairs * (of_groups * shape.groups * shape.state + of_heads * shape.inner()) +
                        2 * of_states * all_rows * shape.inner() * shape.state);
  }
};

// Rows of a cell.
struct SsdChunk {
  std::int64_t first, count;
};

// What a task reads. Heads count from the task's first, rows from the cell's.
template <class T>
struct SsdInputs {
  using Table = Eigen::Array<T, Eigen::Dynamic, Eigen::Dynamic>;

  SsdInputs(const SsdPlan& plan, const SsdTask& given, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights)
      : shape(plan.shape),
        task(given),
        xbc_rows(xbc.data<T>() + task.cell * plan.t * shape.columns()),
        a(-const_array(weights.a_log.data<T>() + task.layer * shape.heads + task.head, task.heads).exp()),
        d(const_array(weights.d.data<T>() + task.layer * shape.heads + task.head, task.heads)),
        raw(const_matrix(dt.data<T>() + task.cell * plan.t * shape.heads + task.head, task.rows, task.heads,
                         shape.heads)),
        delta(task.rows, task.heads),
        l(task.rows, task.heads) {
    for (std::int64_t k = 0; k < task.heads; ++k) {
      raw.col(k) += weights.dt_bias.data<T>()[task.layer * shape.heads + task.head + k];
      delta.col(k) = softplus<T>(raw.col(k)).max(T(shape.least)).min(T(shape.most));
      for (std::int64_t i = 0; i < task.rows; ++i) {
        l(i, k) = a[k] * delta(i, k) + (i % shape.chunk == 0 ? T(0) : l(i - 1, k));
      }
    }
  }

  std::int64_t num_chunks() const { return (task.rows + shape.chunk - 1) / shape.chunk; }
  std::int64_t longest_chunk() const { return std::min(shape.chunk, task.rows); }
  SsdChunk chunk(std::int64_t index) const {
    return {index * shape.chunk, std::min(shape.chunk, task.rows - index * shape.chunk)};
  }

  // (Q, P), (Q, N), (Q, N).
  ConstMatrixMap<T> x(const SsdChunk& rows, std::int64_t k) const {
    return columns(rows, (task.head + k) * shape.width, shape.width);
  }
  ConstMatrixMap<T> b(const SsdChunk& rows) const {
    return columns(rows, shape.inner() + task.group * shape.state, shape.state);
  }
  ConstMatrixMap<T> c(const SsdChunk& rows) const {
    return columns(rows, shape.inner() + (shape.groups + task.group) * shape.state, shape.state);
  }
  ConstMatrixMap<T> columns(const SsdChunk& rows, std::int64_t column, std::int64_t count) const {
    return const_matrix(xbc_rows + rows.first * shape.columns() + column, rows.count, count, shape.columns());
  }

  SsdShape shape;
  SsdTask task;
  const T* xbc_rows;
  Column<T> a, d;
  Table raw, delta, l;  // of each row and head: dt + dt_bias, δ, l
};

// δ ∘ x into the (Q, P) block of each head.
template <class T>
void ssd_scaled_x(const SsdInputs<T>& in, const SsdChunk& rows, RowMajor<T>& out) {
  const std::int64_t p = in.shape.width;
  for (std::int64_t k = 0; k < in.task.heads; ++k) {
    out.block(0, k * p, rows.count, p) =
        (in.x(rows, k).array().colwise() * in.delta.col(k).segment(rows.first, rows.count)).matrix();
  }
}

// S = e^{l_Q} S + (diag(e^{l_Q - l}) X)ᵀ b, where x comes in as X and leaves as the product's left factor.
template <class T>
void ssd_advance(const SsdInputs<T>& in, const SsdChunk& rows, RowMajor<T>& x, MatrixMap<T> state) {
  const std::int64_t p = in.shape.width;
  for (std::int64_t k = 0; k < in.task.heads; ++k) {
    const auto l = in.l.col(k).segment(rows.first, rows.count);
    const T last = l[rows.count - 1];
    x.block(0, k * p, rows.count, p).array().colwise() *= (last - l).min(T(0)).exp();
    state.middleRows(k * p, p) *= std::exp(last);
  }
  state.noalias() += x.topRows(rows.count).transpose() * in.b(rows);
}

// g = c bᵀ, as far as blocks of rows need it.
template <class T>
void ssd_lower_products(const SsdInputs<T>& in, const SsdChunk& rows, RowMajor<T>& g) {
  for (std::int64_t first = 0; first < rows.count; first += kSsdBlock) {
    const std::int64_t count = std::min(kSsdBlock, rows.count - first), end = first + count;
    g.block(first, 0, count, end).noalias() = in.c(rows).middleRows(first, count) * in.b(rows).topRows(end).transpose();
  }
}

// E_ij for j <= i of one row: nothing above the diagonal meets exp.
template <class T>
auto ssd_decays(const T* l, std::int64_t i) {
  return (l[i] - const_array(l, i + 1)).min(T(0)).exp();
}

}  // namespace wt::kernels::cpu
