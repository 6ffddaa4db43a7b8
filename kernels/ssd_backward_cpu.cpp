#include <vector>

#include "kernels/parallel_cpu.h"
#include "kernels/ssd_cpu.h"
#include "kernels/subnormals_cpu.h"

namespace wt::kernels::cpu {
namespace {

// Where a task's gradients go. Other tasks have a share in those of b and c, too.
template <class T>
struct Gradients {
  MatrixMap<T> x, dt, b, c;  // (T, P heads), (T, heads), (T, N), (T, N)
  T* weights;                // a_log, d and dt_bias of each head
  RowMajor<T> state;         // of S' at first, then of S
};

// The memory of a task's backward.
template <class T>
struct Work {
  Work(std::int64_t q, std::int64_t p, std::int64_t n, std::int64_t heads)
      : g(q, q),
        dg(q, q),
        m(std::min(kSsdBlock, q), q),
        dm(std::min(kSsdBlock, q), q),
        x(q, heads * p),
        dx(q, heads * p),
        dy(q, heads * p),
        read(q, n),
        from_rows(q),
        to_rows(q),
        from_state(q),
        to_state(q),
        alpha(q) {}

  RowMajor<T> g, dg, m, dm;  // (Q, Q), those of single heads a block of rows at a time
  RowMajor<T> x, dx, dy;     // (Q, P heads): X, its gradient, diag(e^l) dy
  RowMajor<T> read;          // (Q, N)
  // How much of ∂loss/∂l comes with what a row reads from earlier rows, gives to later ones, reads from the state at
  // the chunk's start and gives to the state at its end; then dα.
  Column<T> from_rows, to_rows, from_state, to_state, alpha;
};

// Of head k: dX += Mᵀ dy, dG += dM ∘ E, and the sums of W = dM ∘ M below the diagonal by rows and by columns.
template <class T>
void backward_within(const SsdInputs<T>& in, const SsdChunk& rows, std::int64_t k, const ConstMatrixMap<T>& dy,
                     Work<T>& w) {
  const std::int64_t p = in.shape.width, q = w.g.cols();
  const T* const l = &in.l(rows.first, k);
  w.to_rows.head(rows.count).setZero();
  for (std::int64_t first = 0; first < rows.count; first += kSsdBlock) {
    const std::int64_t count = std::min(kSsdBlock, rows.count - first), end = first + count;
    w.dm.topLeftCorner(count, end).noalias() = dy.middleRows(first, count) * w.x.block(0, k * p, end, p).transpose();
    for (std::int64_t i = first; i < end; ++i) {
      const auto g = const_array(w.g.data() + i * q, i + 1);
      auto m = array(w.m.data() + (i - first) * q, i + 1), dm = array(w.dm.data() + (i - first) * q, i + 1);
      m = ssd_decays(l, i);
      dm *= m;
      array(w.dg.data() + i * q, i + 1) += dm;
      m *= g;
      array(m.data() + i + 1, end - i - 1).setZero();
      dm *= g;
      w.from_rows[i] = dm.head(i).sum();
      w.to_rows.head(i) += dm.head(i);
    }
    w.dx.block(0, k * p, end, p).noalias() += w.m.topLeftCorner(count, end).transpose() * dy.middleRows(first, count);
  }
}

// dα_t: all that crosses from rows before t to row t and those after it, `carried` from the state before the chunk to
// the one after it. Sums of paths alone; the form with dy·y and X·dX has what does not cross in both and subtracts it.
template <class T>
void sum_crossings(std::int64_t q, T carried, Work<T>& w) {
  for (std::int64_t t = 0; t < q; ++t) {
    w.alpha[t] = carried;
    carried += w.to_state[t];
  }
  T arriving = 0;
  for (std::int64_t t = q - 1; t >= 0; --t) {
    arriving += w.from_rows[t] - w.to_rows[t] + w.from_state[t];
    w.alpha[t] += arriving;
  }
}

// The gradients of x, dt and the weights of head k, from dX and dα.
template <class T>
void backward_steps(const SsdInputs<T>& in, const SsdChunk& rows, std::int64_t k, const ConstMatrixMap<T>& dy,
                    const Work<T>& w, Gradients<T>& grads) {
  const std::int64_t p = in.shape.width;
  const auto x = in.x(rows, k);
  const auto dx = w.dx.block(0, k * p, rows.count, p);
  const auto alpha = w.alpha.head(rows.count);
  const auto delta = in.delta.col(k).segment(rows.first, rows.count);
  const Column<T> raw = in.raw.col(k).segment(rows.first, rows.count), open = softplus<T>(raw);
  auto dt = grads.dt.col(k).segment(rows.first, rows.count).array();
  dt = (open >= T(in.shape.least) && open <= T(in.shape.most))
           .select((in.a[k] * alpha + (dx.array() * x.array()).rowwise().sum()) / (T(1) + (-raw).exp()), T(0));
  grads.x.block(rows.first, k * p, rows.count, p) = (dx.array().colwise() * delta).matrix() + in.d[k] * dy;
  grads.weights[3 * k] += in.a[k] * (delta * alpha).sum();
  grads.weights[3 * k + 1] += (dy.array() * x.array()).sum();
  grads.weights[3 * k + 2] += dt.sum();
}

// One chunk, of whose start this is the state.
template <class T>
void backward_chunk(const SsdInputs<T>& in, const SsdChunk& rows, const MatrixMap<T>& state, const T* dy_rows,
                    Work<T>& w, Gradients<T>& grads) {
  const std::int64_t p = in.shape.width, q = rows.count, inner = in.shape.inner();
  const auto b = in.b(rows), c = in.c(rows);
  auto db = grads.b.middleRows(rows.first, q), dc = grads.c.middleRows(rows.first, q);
  ssd_lower_products(in, rows, w.g);
  ssd_scaled_x(in, rows, w.x);
  w.dg.topLeftCorner(q, q).setZero();
  w.dx.topRows(q).noalias() = b * grads.state.transpose();
  dc.setZero();
  for (std::int64_t k = 0; k < in.task.heads; ++k) {
    const auto dy = const_matrix(dy_rows + rows.first * inner + k * p, q, p, inner);
    const auto l = in.l.col(k).segment(rows.first, q);
    const Column<T> to_end = (l[q - 1] - l).min(T(0)).exp();
    auto x = w.x.block(0, k * p, q, p), dx = w.dx.block(0, k * p, q, p), dy_start = w.dy.block(0, k * p, q, p);
    dx.array().colwise() *= to_end;
    w.to_state.head(q) = (x.array() * dx.array()).rowwise().sum();
    backward_within(in, rows, k, dy, w);
    dy_start = (dy.array().colwise() * l.exp()).matrix();
    w.read.topRows(q).noalias() = dy_start * state.middleRows(k * p, p);
    w.from_state.head(q) = (w.read.topRows(q).array() * c.array()).rowwise().sum();
    dc += w.read.topRows(q);
    const T kept = (state.middleRows(k * p, p).array() * grads.state.middleRows(k * p, p).array()).sum();
    sum_crossings(q, std::exp(l[q - 1]) * kept, w);
    backward_steps(in, rows, k, dy, w, grads);
    x.array().colwise() *= to_end;
  }
  db.noalias() = w.x.topRows(q) * grads.state;
  for (std::int64_t first = 0; first < q; first += kSsdBlock) {
    const std::int64_t count = std::min(kSsdBlock, q - first), end = first + count;
    const auto dg = w.dg.block(first, 0, count, end);
    dc.middleRows(first, count).noalias() += dg * b.topRows(end);
    db.topRows(end).noalias() += dg.transpose() * c.middleRows(first, count);
  }
  for (std::int64_t k = 0; k < in.task.heads; ++k) {
    grads.state.middleRows(k * p, p) *= std::exp(in.l(rows.first + q - 1, k));
  }
  grads.state.noalias() += w.dy.topRows(q).transpose() * c;
}

// `s`: the state before the first row; dy's columns are the task's.
template <class T>
void backward_task(const SsdInputs<T>& in, const T* s, const T* dy_rows, Gradients<T>& grads) {
  const std::int64_t size = in.task.heads * in.shape.width, n = in.shape.state, chunks = in.num_chunks();
  Work<T> w(in.longest_chunk(), in.shape.width, n, in.task.heads);
  RowMajor<T> states(chunks * size, n);  // at the chunks' starts
  const auto state = [&](std::int64_t index) { return matrix(states.data() + index * size * n, size, n, n); };
  for (std::int64_t index = 0; index < chunks; ++index) {
    if (index == 0) {
      state(0) = const_matrix(s, size, n, n);
      continue;
    }
    state(index) = state(index - 1);
    ssd_scaled_x(in, in.chunk(index - 1), w.x);
    ssd_advance(in, in.chunk(index - 1), w.x, state(index));
  }
  count_product_flops(2 * (chunks - 1) * in.shape.chunk * size * n);
  for (std::int64_t index = chunks - 1; index >= 0; --index) {
    backward_chunk(in, in.chunk(index), state(index), dy_rows, w, grads);
  }
}

// Columns [b | c] of dxbc: the shares (tasks, T, 2 N) of each group, in order. Rows beyond those in use are zero.
template <class T>
void join_rows(const SsdPlan& plan, const Tensor& shares, const Tensor& dxbc, const Tensor& ddt) {
  const std::int64_t n = plan.shape.state, e = plan.shape.columns(), h = plan.shape.heads, r = plan.shape.groups;
  const std::int64_t pieces = (plan.t + kRowGrain - 1) / kRowGrain;
  parallel_for(plan.cells * pieces, [&](std::int64_t piece) {
    const SubnormalsAreZero fast;
    const std::int64_t cell = piece / pieces, first = piece % pieces * kRowGrain;
    for (std::int64_t t = first; t < std::min(first + kRowGrain, plan.t); ++t) {
      const std::int64_t row = cell * plan.t + t;
      if (t >= plan.rows(cell)) {
        array(dxbc.data<T>() + row * e, e).setZero();
        array(ddt.data<T>() + row * h, h).setZero();
        continue;
      }
      for (std::int64_t block = 0; block < 2 * r; ++block) {  // b of every group, then c
        const std::int64_t task = (cell * r + block % r) * plan.group_tasks;
        const auto share = [&](std::int64_t i) {
          return const_array(shares.data<T>() + (((task + i) * plan.t + t) * 2 + block / r) * n, n);
        };
        auto out = array(dxbc.data<T>() + row * e + plan.shape.inner() + block * n, n);
        out = share(0);
        for (std::int64_t i = 1; i < plan.group_tasks; ++i) out += share(i);
      }
    }
  });
}

}  // namespace

void ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                  const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                  const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                  const Tensor& ds) {
  const SsdPlan plan(shape, xbc, cells);
  const std::int64_t n = shape.state;
  plan.count_flops(3, 2, 4);
  const Tensor shares = Tensor::empty(stream, {plan.tasks(), plan.t, 2 * n}, xbc.dtype());
  dispatch_real(xbc.dtype(), [&]<class T>() {
    std::vector<T> sums(static_cast<std::size_t>(plan.cells * shape.heads * 3), T(0));
    parallel_for(plan.tasks(), [&](std::int64_t index) {
      const SubnormalsAreZero fast;
      const SsdTask task = plan.task(index);
      const std::int64_t size = task.heads * shape.width, head = task.cell * shape.heads + task.head;
      const std::int64_t at = head * shape.width * n, row = task.cell * plan.t;
      T* const share = shares.data<T>() + index * plan.t * 2 * n;
      Gradients<T> grads{
          matrix(dxbc.data<T>() + row * shape.columns() + task.head * shape.width, plan.t, size, shape.columns()),
          matrix(ddt.data<T>() + row * shape.heads + task.head, plan.t, task.heads, shape.heads),
          matrix(share, plan.t, n, 2 * n),
          matrix(share + n, plan.t, n, 2 * n),
          sums.data() + head * 3,
          RowMajor<T>::Zero(size, n)};
      if (ds_out.defined()) grads.state = const_matrix(ds_out.data<T>() + at, size, n, n);
      if (task.rows > 0) {
        backward_task<T>({plan, task, xbc, dt, weights}, s.data<T>() + at,
                         dy.data<T>() + row * shape.inner() + task.head * shape.width, grads);
      }
      if (ds.defined()) matrix(ds.data<T>() + at, size, n, n) = grads.state;
    });
    join_rows<T>(plan, shares, dxbc, ddt);
    for (std::int64_t i = 0; i < plan.cells * shape.heads; ++i) {
      const std::int64_t at = i / (plan.b * shape.heads) * shape.heads + i % shape.heads;
      const T* const sum = sums.data() + i * 3;
      if (dweights.a_log.defined()) dweights.a_log.data<T>()[at] += sum[0];
      if (dweights.d.defined()) dweights.d.data<T>()[at] += sum[1];
      if (dweights.dt_bias.defined()) dweights.dt_bias.data<T>()[at] += sum[2];
    }
  });
}

}  // namespace wt::kernels::cpu
