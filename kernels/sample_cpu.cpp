#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/parallel_cpu.h"
#include "kernels/sample.h"

namespace wt::kernels::cpu {
namespace {

template <class T>
std::int32_t draw(const T* x, std::int64_t v, double temperature, double top_p, double uniform) {
  T top = -std::numeric_limits<T>::infinity();
  for (std::int64_t i = 0; i < v; ++i) top = x[i] > top ? x[i] : top;
  std::vector<double> weight(static_cast<std::size_t>(v), 0.0);
  double total = 0;
  for (std::int64_t i = 0; i < v; ++i) {
    if (std::isnan(x[i])) continue;
    const double difference = x[i] == top ? 0.0 : static_cast<double>(x[i]) - static_cast<double>(top);
    total += weight[static_cast<std::size_t>(i)] = std::exp(difference / temperature);
  }
  if (top_p < 1) {
    // A heap, since a nucleus is mostly small beside a vocabulary.
    const auto lighter = [&](std::int64_t a, std::int64_t b) { return x[a] != x[b] ? x[a] < x[b] : a > b; };
    std::vector<std::int64_t> heap;
    for (std::int64_t i = 0; i < v; ++i) {
      if (!std::isnan(x[i])) heap.push_back(i);
    }
    std::make_heap(heap.begin(), heap.end(), lighter);
    std::vector<double> kept(weight.size(), 0.0);
    double sum = 0;
    while (!heap.empty() && sum < top_p * total) {
      std::pop_heap(heap.begin(), heap.end(), lighter);
      const auto at = static_cast<std::size_t>(heap.back());
      heap.pop_back();
      sum += kept[at] = weight[at];
    }
    weight = std::move(kept);
    total = 0;
    for (const double w : weight) total += w;
  }
  std::int32_t last = 0;
  double sum = 0;
  for (std::int64_t i = 0; i < v; ++i) {
    const double w = weight[static_cast<std::size_t>(i)];
    if (w == 0) continue;
    sum += w;
    last = static_cast<std::int32_t>(i);
    if (sum > uniform * total) break;
  }
  return last;
}

}  // namespace

void sample_rows(const Stream&, const Tensor& x, double temperature, double top_p, const Tensor& uniform,
                 const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_for(r, [&](std::int64_t i) {
      index.data<std::int32_t>()[i] = draw(x.data<T>() + i * v, v, temperature, top_p, uniform.data<double>()[i]);
    });
  });
}

}  // namespace wt::kernels::cpu
