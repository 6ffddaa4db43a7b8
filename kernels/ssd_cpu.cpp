#include "kernels/ssd_cpu.h"

#include "kernels/parallel_cpu.h"
#include "kernels/subnormals_cpu.h"

namespace wt::kernels::cpu {
namespace {

// Chunks of so few rows run through the recurrence: a decoded token is one.
constexpr std::int64_t kFewRows = 3;

// The definition, row by row.
template <class T>
void recur(const SsdInputs<T>& in, const SsdChunk& rows, MatrixMap<T> state, MatrixMap<T> y) {
  const std::int64_t p = in.shape.width;
  const auto b = in.b(rows), c = in.c(rows);
  for (std::int64_t k = 0; k < in.task.heads; ++k) {
    const auto x = in.x(rows, k);
    for (std::int64_t i = 0; i < rows.count; ++i) {
      const T delta = in.delta(rows.first + i, k), decay = std::exp(in.a[k] * delta);
      const auto b_row = b.row(i).array(), c_row = c.row(i).array();
      for (std::int64_t j = 0; j < p; ++j) {
        auto s = state.row(k * p + j).array();
        s = decay * s + delta * x(i, j) * b_row;
        y(i, k * p + j) = (s * c_row).sum() + in.d[k] * x(i, j);
      }
    }
  }
}

// y of the rows in use; the state is replaced. y is (T, P heads) of the task's columns.
template <class T>
void forward_task(const SsdInputs<T>& in, MatrixMap<T> state, MatrixMap<T> y) {
  const std::int64_t p = in.shape.width, heads = in.task.heads, q = in.longest_chunk();
  const std::int64_t wide = q > kFewRows ? q : 0;
  RowMajor<T> g(wide, wide), m(std::min(kSsdBlock, wide), wide), x(wide, heads * p);
  for (std::int64_t index = 0; index < in.num_chunks(); ++index) {
    const SsdChunk rows = in.chunk(index);
    MatrixMap<T> out = matrix(&y(rows.first, 0), rows.count, heads * p, y.outerStride());
    if (rows.count <= kFewRows) {
      recur(in, rows, state, out);
      continue;
    }
    ssd_lower_products(in, rows, g);
    ssd_scaled_x(in, rows, x);
    out.noalias() = in.c(rows) * state.transpose();
    for (std::int64_t k = 0; k < heads; ++k) {
      const T* const l = &in.l(rows.first, k);
      auto out_k = out.middleCols(k * p, p);
      out_k = (out_k.array().colwise() * const_array(l, rows.count).exp()).matrix() + in.d[k] * in.x(rows, k);
      for (std::int64_t first = 0; first < rows.count; first += kSsdBlock) {
        const std::int64_t count = std::min(kSsdBlock, rows.count - first), end = first + count;
        for (std::int64_t i = first; i < end; ++i) {
          T* const row = m.data() + (i - first) * wide;
          array(row, i + 1) = ssd_decays(l, i) * const_array(g.data() + i * wide, i + 1);
          array(row + i + 1, end - i - 1).setZero();
        }
        out_k.middleRows(first, count).noalias() += m.topLeftCorner(count, end) * x.block(0, k * p, end, p);
      }
    }
    ssd_advance(in, rows, x, state);
  }
}

}  // namespace

void ssd_forward(const Stream&, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights, const SsdShape& shape,
                 const Tensor& s, const Cells& cells, const Tensor& y, const Tensor& s_out) {
  const SsdPlan plan(shape, xbc, cells);
  plan.count_flops(1, 1, 2);
  dispatch_real(xbc.dtype(), [&]<class T>() {
    parallel_for(plan.tasks(), [&](std::int64_t index) {
      const SubnormalsAreZero fast;
      const SsdTask task = plan.task(index);
      const std::int64_t size = task.heads * shape.width;
      const std::int64_t at = (task.cell * shape.heads + task.head) * shape.width * shape.state;
      auto state = matrix(s_out.data<T>() + at, size, shape.state, shape.state);
      if (s.data<T>() != s_out.data<T>()) state = const_matrix(s.data<T>() + at, size, shape.state, shape.state);
      auto out = matrix(y.data<T>() + task.cell * plan.t * shape.inner() + task.head * shape.width, plan.t, size,
                        shape.inner());
      out.bottomRows(plan.t - task.rows).setZero();
      if (task.rows > 0) forward_task<T>({plan, task, xbc, dt, weights}, state, out);
    });
  });
}

}  // namespace wt::kernels::cpu
