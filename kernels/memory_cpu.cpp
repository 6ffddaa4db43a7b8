#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/flops_cpu.h"
#include "kernels/memory.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

// Rows of a read that are a task of their own.
constexpr std::int64_t kReadRows = 128;

bool reads(std::uint8_t flags) {
  return (flags & kCellActive) != 0 && (flags & kCellFirst) == 0;
}

// Infinite where there is none.
template <class T>
T smallest_of(const T* values, std::int64_t count) {
  return std::accumulate(values, values + count, std::numeric_limits<T>::infinity(), smaller_denominator<T>);
}

// Minima of the pieces, folded into the one element in a fixed order.
template <class T>
void fold_minimum(const std::vector<T>& minima, const Tensor& min_den) {
  if (!min_den.defined()) return;
  T& smallest = *min_den.data<T>();
  for (const T value : minima) smallest = smaller_denominator(smallest, value);
}

}  // namespace

void memory_read_forward(const Stream&, const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z,
                         const Cells& cells, const Tensor& y, const Tensor& den, const Tensor& min_den) {
  const MemoryExtents e = memory_extents(phi, a);
  const std::int64_t pieces = (e.t + kReadRows - 1) / kReadRows;
  dispatch_real(x.dtype(), [&]<class T>() {
    std::vector<T> minima(static_cast<std::size_t>(e.cells() * pieces), std::numeric_limits<T>::infinity());
    parallel_for(e.cells() * pieces, [&](std::int64_t task) {
      const std::int64_t cell = task / pieces, first = task % pieces * kReadRows;
      const std::int64_t rows = std::min(kReadRows, e.t - first), row = cell * e.t + first;
      const auto in = const_array(x.data<T>() + row * e.d, rows * e.d);
      auto out = array(y.data<T>() + row * e.d, rows * e.d);
      auto c = array(den.data<T>() + row, rows);
      if (!reads(cells.flags.data<std::uint8_t>()[cell])) {
        out = in;
        c.setConstant(T(kMemoryEpsilon));
        return;
      }
      count_product_flops(2 * rows * e.p * (e.d + 1));
      const auto features = const_matrix(phi.data<T>() + row * e.p, rows, e.p, e.p);
      matrix(out.data(), rows, e.d, e.d).noalias() =
          features * const_matrix(a.data<T>() + cell * e.p * e.d, e.p, e.d, e.d);
      const auto mass = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>(z.data<T>() + cell * e.p, e.p);
      c.matrix().noalias() = features * mass;
      c += T(kMemoryEpsilon);
      for (std::int64_t i = 0; i < rows; ++i) {
        auto line = array(out.data() + i * e.d, e.d);
        line = const_array(in.data() + i * e.d, e.d) + line / c[i];
      }
      const std::int64_t used = std::clamp<std::int64_t>(cells.rows.data<std::int32_t>()[cell] - first, 0, rows);
      minima[static_cast<std::size_t>(task)] = smallest_of(c.data(), used);
    });
    fold_minimum(minima, min_den);
  });
}

void memory_read_backward(const Stream&, const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                          const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da, const Tensor& dz,
                          GradMode state_mode) {
  const MemoryExtents e = memory_extents(phi, a);
  dispatch_real(dy.dtype(), [&]<class T>() {
    parallel_for(e.cells(), [&](std::int64_t cell) {
      auto features_grad = matrix(dphi.data<T>() + cell * e.t * e.p, e.t, e.p, e.p);
      T* state_grad = state_mode == GradMode::kSkip ? nullptr : da.data<T>() + cell * e.p * e.d;
      T* mass_grad = state_mode == GradMode::kSkip ? nullptr : dz.data<T>() + cell * e.p;
      if (state_mode == GradMode::kOverwrite) {
        array(state_grad, e.p * e.d).setZero();
        array(mass_grad, e.p).setZero();
      }
      if (!reads(cells.flags.data<std::uint8_t>()[cell])) {
        features_grad.setZero();
        return;
      }
      count_product_flops(2 * (state_grad == nullptr ? 1 : 2) * e.t * e.p * (e.d + 1));
      const auto features = const_matrix(phi.data<T>() + cell * e.t * e.p, e.t, e.p, e.p);
      const auto c = const_array(den.data<T>() + cell * e.t, e.t);
      const RowMajor<T> g =
          (const_matrix(dy.data<T>() + cell * e.t * e.d, e.t, e.d, e.d).array().colwise() / c).matrix();
      features_grad.noalias() = g * const_matrix(a.data<T>() + cell * e.p * e.d, e.p, e.d, e.d).transpose();
      const Eigen::Matrix<T, Eigen::Dynamic, 1> dc =
          (-(features.array() * features_grad.array()).rowwise().sum() / c).matrix();
      const auto mass = Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(z.data<T>() + cell * e.p, e.p);
      features_grad.noalias() += dc * mass;
      if (state_grad == nullptr) return;
      matrix(state_grad, e.p, e.d, e.d).noalias() += features.transpose() * g;
      array(mass_grad, e.p).matrix().noalias() += features.transpose() * dc;
    });
  });
}

void memory_write_forward(const Stream&, const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a,
                          const Tensor& z, const Cells& cells, bool correction, const Tensor& a_out,
                          const Tensor& z_out, const MemoryWrite& saved, const Tensor& min_den) {
  const MemoryExtents e = memory_extents(k, a);
  const std::int64_t m = e.t;
  dispatch_real(k.dtype(), [&]<class T>() {
    std::vector<T> minima(static_cast<std::size_t>(e.cells()), std::numeric_limits<T>::infinity());
    parallel_for(e.cells(), [&](std::int64_t cell) {
      const std::uint8_t flags = cells.flags.data<std::uint8_t>()[cell];
      const T* old_state = a.data<T>() + cell * e.p * e.d;
      const T* old_mass = z.data<T>() + cell * e.p;
      T* new_state = a_out.data<T>() + cell * e.p * e.d;
      T* new_mass = z_out.data<T>() + cell * e.p;
      if (new_state != old_state) array(new_state, e.p * e.d) = const_array(old_state, e.p * e.d);
      if (new_mass != old_mass) array(new_mass, e.p) = const_array(old_mass, e.p);
      auto error = matrix(saved.error.data<T>() + cell * m * e.d, m, e.d, e.d);
      auto c = array(saved.den.data<T>() + cell * m, m);
      auto gamma = array(saved.gamma.data<T>() + cell * m, m);
      if ((flags & kCellActive) == 0) {
        error.setZero();
        c.setConstant(T(kMemoryEpsilon));
        gamma.setZero();
        return;
      }
      count_product_flops(2 * ((flags & kCellFirst) != 0 ? 1 : 2) * m * e.p * (e.d + 1));
      const auto keys = const_matrix(k.data<T>() + cell * m * e.p, m, e.p, e.p);
      const auto values = const_matrix(v.data<T>() + cell * m * e.d, m, e.d, e.d);
      gamma.setOnes();
      if ((flags & kCellFirst) != 0) {
        error = values;
        c.setConstant(T(kMemoryEpsilon));
      } else {
        const auto mass = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>(old_mass, e.p);
        c.matrix().noalias() = keys * mass;
        c += T(kMemoryEpsilon);
        error.noalias() = keys * const_matrix(old_state, e.p, e.d, e.d);
        error = values - (error.array().colwise() / c).matrix();
        if (correction) {
          gamma = (T(1) - c / (keys.array().square().rowwise().sum() + T(kMemoryEpsilon))).max(T(0)).min(T(1));
        }
        minima[static_cast<std::size_t>(cell)] = smallest_of(c.data(), m);
      }
      const auto beta = T(1) / (T(1) + (-const_array(b.data<T>() + cell * m, m)).exp());
      const RowMajor<T> scaled = (error.array().colwise() * beta).matrix();
      // a_out may be a: every read of the old state is done by now.
      matrix(new_state, e.p, e.d, e.d).noalias() += keys.transpose() * scaled;
      array(new_mass, e.p).matrix().noalias() += keys.transpose() * gamma.matrix();
    });
    fold_minimum(minima, min_den);
  });
}

void memory_write_backward(const Stream&, const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                           const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                           const Tensor& dk, const Tensor& dv, const Tensor& db) {
  const MemoryExtents e = memory_extents(k, a);
  const std::int64_t m = e.t;
  dispatch_real(k.dtype(), [&]<class T>() {
    using Column = Eigen::Matrix<T, Eigen::Dynamic, 1>;
    parallel_for(e.cells(), [&](std::int64_t cell) {
      const std::uint8_t flags = cells.flags.data<std::uint8_t>()[cell];
      auto key_grad = matrix(dk.data<T>() + cell * m * e.p, m, e.p, e.p);
      auto value_grad = matrix(dv.data<T>() + cell * m * e.d, m, e.d, e.d);
      auto logit_grad = array(db.data<T>() + cell * m, m);
      if ((flags & kCellActive) == 0) {
        key_grad.setZero();
        value_grad.setZero();
        logit_grad.setZero();
        return;
      }
      count_product_flops(2 * m * e.p * (2 * e.d + 1));
      const auto keys = const_matrix(k.data<T>() + cell * m * e.p, m, e.p, e.p);
      const auto error = const_matrix(saved.error.data<T>() + cell * m * e.d, m, e.d, e.d);
      const auto c = const_array(saved.den.data<T>() + cell * m, m);
      const auto gamma = const_array(saved.gamma.data<T>() + cell * m, m);
      auto state_grad = matrix(da.data<T>() + cell * e.p * e.d, e.p, e.d, e.d);
      auto mass_grad = array(dz.data<T>() + cell * e.p, e.p).matrix();
      const Eigen::Array<T, Eigen::Dynamic, 1> beta = T(1) / (T(1) + (-const_array(b.data<T>() + cell * m, m)).exp());

      const RowMajor<T> scaled = (error.array().colwise() * beta).matrix();
      key_grad.noalias() = scaled * state_grad.transpose();
      key_grad.noalias() += gamma.matrix() * mass_grad.transpose();
      value_grad.noalias() = keys * state_grad;  // gradient of β e, for now
      logit_grad = (value_grad.array() * error.array()).rowwise().sum() * beta * (T(1) - beta);
      value_grad.array().colwise() *= beta;  // now that of e, which is that of v
      if ((flags & kCellFirst) != 0) return;

      count_product_flops(4 * m * e.p * (e.d + 1));
      // v_old = n / c with n = k A: dn = -de / c, and dc = -dn·n / c, where dn·n = k·(dn Aᵀ).
      const RowMajor<T> dn = (-(value_grad.array().colwise() / c)).matrix();
      RowMajor<T> t(m, e.p);
      t.noalias() = dn * const_matrix(a.data<T>() + cell * e.p * e.d, e.p, e.d, e.d).transpose();
      const Column dc = (-(keys.array() * t.array()).rowwise().sum() / c).matrix();
      key_grad += t;
      key_grad.noalias() += dc * Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(z.data<T>() + cell * e.p, e.p);
      state_grad.noalias() += keys.transpose() * dn;
      mass_grad.noalias() += keys.transpose() * dc;
    });
  });
}

}  // namespace wt::kernels::cpu
