#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/layer_norm.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

void layer_norm_forward(const Stream&, const Tensor& x, const Tensor& w, const Tensor& b, double eps, const Tensor& y,
                        const Tensor& mean, const Tensor& rstd) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(g * r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto in = const_array(x.data<T>() + row * d, d);
        const T mu = in.mean();
        const T rho = T(1) / std::sqrt((in - mu).square().mean() + T(eps));
        mean.data<T>()[row] = mu;
        rstd.data<T>()[row] = rho;
        array(y.data<T>() + row * d, d) =
            (in - mu) * rho * const_array(w.data<T>() + row / r * d, d) + const_array(b.data<T>() + row / r * d, d);
      }
    });
  });
}

void layer_norm_backward(const Stream&, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db) {
  const std::int64_t g = x.dim(0), r = x.dim(1), d = x.dim(2);
  const std::int64_t pieces = (r + kRowGrain - 1) / kRowGrain;
  dispatch_real(x.dtype(), [&]<class T>() {
    std::vector<T> partial(dw.defined() ? static_cast<std::size_t>(2 * g * pieces * d) : 0, T(0));
    parallel_for(g * pieces, [&](std::int64_t piece) {
      const std::int64_t layer = piece / pieces;
      const std::int64_t begin = layer * r + piece % pieces * kRowGrain;
      const std::int64_t end = std::min(begin + kRowGrain, (layer + 1) * r);
      const auto weight = const_array(w.data<T>() + layer * d, d);
      for (std::int64_t row = begin; row < end; ++row) {
        const T rho = rstd.data<T>()[row];
        const T mu = mean.data<T>()[row];
        const auto normed = (const_array(x.data<T>() + row * d, d) - mu) * rho;
        const auto grad = const_array(dy.data<T>() + row * d, d);
        if (!partial.empty()) {
          array(partial.data() + 2 * piece * d, d) += grad * normed;
          array(partial.data() + (2 * piece + 1) * d, d) += grad;
        }
        if (dx_mode == GradMode::kSkip) continue;
        auto out = array(dx.data<T>() + row * d, d);
        const T mean_g = (weight * grad).mean();
        const T mean_gx = (weight * grad * normed).mean();
        if (dx_mode == GradMode::kAccumulate) {
          out += rho * (weight * grad - mean_g - normed * mean_gx);
        } else {
          out = rho * (weight * grad - mean_g - normed * mean_gx);
        }
      }
    });
    for (std::int64_t piece = 0; piece < g * pieces && !partial.empty(); ++piece) {
      array(dw.data<T>() + piece / pieces * d, d) += const_array<T>(partial.data() + 2 * piece * d, d);
      array(db.data<T>() + piece / pieces * d, d) += const_array<T>(partial.data() + (2 * piece + 1) * d, d);
    }
  });
}

}  // namespace wt::kernels::cpu
