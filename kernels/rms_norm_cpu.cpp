#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rms_norm.h"

namespace wt::kernels::cpu {

void rms_norm_forward(const Stream&, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(g * r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto in = const_array(x.data<T>() + row * d, d);
        const T rho = T(1) / std::sqrt(in.square().mean() + T(eps));
        rstd.data<T>()[row] = rho;
        array(y.data<T>() + row * d, d) = in * rho * const_array(w.data<T>() + row / r * d, d);
      }
    });
  });
}

void rms_norm_backward(const Stream&, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  const std::int64_t pieces = (r + kRowGrain - 1) / kRowGrain;
  dispatch_real(x.dtype(), [&]<class T>() {
    std::vector<T> partial(dw.defined() ? static_cast<std::size_t>(g * pieces * d) : 0, T(0));
    parallel_for(g * pieces, [&](std::int64_t piece) {
      const std::int64_t layer = piece / pieces;
      const std::int64_t begin = layer * r + piece % pieces * kRowGrain;
      const std::int64_t end = std::min(begin + kRowGrain, (layer + 1) * r);
      const auto weight = const_array(w.data<T>() + layer * d, d);
      for (std::int64_t row = begin; row < end; ++row) {
        const auto in = const_array(x.data<T>() + row * d, d);
        const auto grad = const_array(dy.data<T>() + row * d, d);
        const T rho = rstd.data<T>()[row];
        if (!partial.empty()) array(partial.data() + piece * d, d) += grad * in * rho;
        if (dx_mode == GradMode::kSkip) continue;
        auto out = array(dx.data<T>() + row * d, d);
        const T mean = (weight * grad * in).mean() * rho * rho;
        if (dx_mode == GradMode::kAccumulate) {
          out += rho * (weight * grad - in * mean);
        } else {
          out = rho * (weight * grad - in * mean);
        }
      }
    });
    for (std::int64_t piece = 0; piece < g * pieces && !partial.empty(); ++piece) {
      array(dw.data<T>() + piece / pieces * d, d) += const_array<T>(partial.data() + piece * d, d);
    }
  });
}

}  // namespace wt::kernels::cpu
