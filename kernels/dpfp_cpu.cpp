#include <algorithm>
#include <vector>

#include "kernels/dpfp.h"
#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

// u twice in a row, so that a rotation is a shift: twice[2d + i - j] = u[(i - j) mod 2d] for 0 <= i < 2d, 0 < j <= 2d.
template <class T>
void rectify(const T* x, std::int64_t d, T* twice) {
  for (std::int64_t i = 0; i < d; ++i) {
    const T positive = x[i] > T(0) ? x[i] : T(0);
    const T negative = x[i] < T(0) ? -x[i] : T(0);
    twice[i] = twice[2 * d + i] = positive;
    twice[d + i] = twice[3 * d + i] = negative;
  }
}

// The gradient of u∘r_j with respect to u (`twice` in a row): u_i stands at place i and, turned, at place i + j. Every
// place of du is written once, at its own index: adding to shifted places would wait for the stores before.
template <class T>
void unrotate(const T* g, const T* twice, std::int64_t j, std::int64_t n, T* __restrict du) {
  for (std::int64_t i = 0; i < n - j; ++i) du[i] += g[i] * twice[n + i - j] + g[i + j] * twice[i + j];
  for (std::int64_t i = n - j; i < n; ++i) du[i] += g[i] * twice[n + i - j] + g[i + j - n] * twice[i + j - n];
}

}  // namespace

void dpfp_forward(const Stream&, const Tensor& x, std::int64_t nu, const Tensor& phi) {
  const std::int64_t d = x.shape()[-1];
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(x.numel() / d, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> u(static_cast<std::size_t>(4 * d));
      for (std::int64_t row = begin; row < end; ++row) {
        rectify(x.data<T>() + row * d, d, u.data());
        T* out = phi.data<T>() + row * 2 * nu * d;
        for (std::int64_t j = 1; j <= nu; ++j, out += 2 * d) {
          array(out, 2 * d) = const_array<T>(u.data(), 2 * d) * const_array<T>(u.data() + 2 * d - j, 2 * d);
        }
      }
    });
  });
}

void dpfp_backward(const Stream&, const Tensor& dphi, const Tensor& x, std::int64_t nu, const Tensor& dx) {
  const std::int64_t d = x.shape()[-1];
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(x.numel() / d, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> u(static_cast<std::size_t>(4 * d)), du(static_cast<std::size_t>(2 * d));
      for (std::int64_t row = begin; row < end; ++row) {
        rectify(x.data<T>() + row * d, d, u.data());
        std::fill(du.begin(), du.end(), T(0));
        const T* grad = dphi.data<T>() + row * 2 * nu * d;
        for (std::int64_t j = 1; j <= nu; ++j, grad += 2 * d) unrotate(grad, u.data(), j, 2 * d, du.data());
        for (std::int64_t i = 0; i < d; ++i) {
          const T value = x.data<T>()[row * d + i];
          const T positive = du[static_cast<std::size_t>(i)], negative = du[static_cast<std::size_t>(d + i)];
          dx.data<T>()[row * d + i] = (value > T(0) ? positive : T(0)) - (value < T(0) ? negative : T(0));
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
