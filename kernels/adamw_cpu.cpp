#include <cmath>
#include <vector>

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
  WT_CHECK(out.numel() == 1, "sum_of_squares: out is ", out, ", expected one element");
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

void scale_and_clip(const Stream&, const Tensor& g, double scale, double limit) {
  dispatch_real(g.dtype(), [&]<class T>() {
    parallel_ranges(g.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      auto values = array(g.data<T>() + begin, end - begin);
      if (limit > 0) {
        values = (values * T(scale)).max(T(-limit)).min(T(limit));
      } else {
        values *= T(scale);
      }
    });
  });
}

void adamw(const Stream&, const AdamWStep& o, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& w,
           const Tensor& rounded) {
  WT_CHECK(g.shape() == w.shape() && m.shape() == w.shape() && v.shape() == w.shape(), "adamw: w is ", w, ", g ", g,
           ", m ", m, ", v ", v);
  WT_CHECK(!rounded.defined() || rounded.shape() == w.shape(), "adamw: w is ", w, ", rounded ", rounded);
  const double correct1 = 1.0 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correct2 = 1.0 - std::pow(o.beta2, static_cast<double>(o.step));
  dispatch_real(w.dtype(), [&]<class T>() {
    parallel_ranges(w.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      const auto grad = const_array(g.data<T>() + begin, end - begin);
      auto first = array(m.data<T>() + begin, end - begin);
      auto second = array(v.data<T>() + begin, end - begin);
      auto weight = array(w.data<T>() + begin, end - begin);
      first = T(o.beta1) * first + T(1 - o.beta1) * grad;
      second = T(o.beta2) * second + T(1 - o.beta2) * grad.square();
      weight -= T(o.lr) * (first / T(correct1) / ((second / T(correct2)).sqrt() + T(o.eps)) + T(o.decay) * weight);
      if (!rounded.defined()) return;
      for (std::int64_t i = begin; i < end; ++i) {
        rounded.data<BFloat16>()[i] = to_bfloat16(static_cast<float>(w.data<T>()[i]));
      }
    });
  });
}

}  // namespace wt::kernels::cpu
