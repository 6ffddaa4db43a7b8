#include <cmath>
#include <vector>

#include "core/split_float.h"
#include "kernels/adamw.h"
#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

namespace {

// Σ v² with sixteen running sums, so that the additions need not wait for one another.
template <class T>
double squares(const T* v, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  double sums[kLanes] = {};
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) sums[j] += static_cast<double>(v[i + j]) * static_cast<double>(v[i + j]);
  }
  for (std::int64_t i = whole; i < count; ++i) sums[i - whole] += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace

void sum_of_squares(const Stream&, const Tensor& g, const Tensor& out) {
  out.data<double>()[0] = dispatch_real(g.dtype(), [&]<class T>() {
    const std::int64_t pieces = (g.numel() + kElementwiseGrain - 1) / kElementwiseGrain;
    std::vector<double> partial(static_cast<std::size_t>(pieces));
    parallel_ranges(g.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      partial[static_cast<std::size_t>(begin / kElementwiseGrain)] = squares(g.data<T>() + begin, end - begin);
    });
    double sum = 0;
    for (const double value : partial) sum += value;
    return sum;
  });
}

void adamw(const Stream&, const AdamWStep& o, const Tensor& dw, const Tensor& m, const Tensor& v, const Tensor& w,
           const Tensor& low) {
  const double correct1 = 1.0 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correct2 = 1.0 - std::pow(o.beta2, static_cast<double>(o.step));
  dispatch_real(dw.dtype(), [&]<class T>() {
    parallel_ranges(w.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t count = end - begin;
      const auto update = [&](T* values) {
        Eigen::Array<T, Eigen::Dynamic, 1> grad = const_array(dw.data<T>() + begin, count) * T(o.scale);
        if (o.limit > 0) grad = grad.max(T(-o.limit)).min(T(o.limit));
        auto first = array(m.data<T>() + begin, count);
        auto second = array(v.data<T>() + begin, count);
        auto weight = array(values, count);
        first = T(o.beta1) * first + T(1 - o.beta1) * grad;
        second = T(o.beta2) * second + T(1 - o.beta2) * grad.square();
        weight -= T(o.lr) * (first / T(correct1) / ((second / T(correct2)).sqrt() + T(o.eps)) + T(o.decay) * weight);
      };
      if (!low.defined()) {
        update(w.data<T>() + begin);
        return;
      }
      std::vector<T> joined(static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) {
        joined[static_cast<std::size_t>(i)] =
            static_cast<T>(join_float({w.data<BFloat16>()[begin + i].bits, low.data<std::int16_t>()[begin + i]}));
      }
      update(joined.data());
      for (std::int64_t i = 0; i < count; ++i) {
        const SplitFloat halves = split_float(static_cast<float>(joined[static_cast<std::size_t>(i)]));
        w.data<BFloat16>()[begin + i] = {halves.high};
        low.data<std::int16_t>()[begin + i] = halves.low;
      }
    });
  });
}

}  // namespace wt::kernels::cpu
