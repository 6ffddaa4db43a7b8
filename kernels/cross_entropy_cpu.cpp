#include <algorithm>
#include <cmath>

#include "kernels/cross_entropy.h"
#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

void cross_entropy_forward(const Stream&, const Tensor& logits, const Tensor& target, const Tensor& loss,
                           const Tensor& lse, const Tensor& correct) {
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  for (std::int64_t i = 0; i < r; ++i) {
    const std::int32_t id = target.data<std::int32_t>()[i];
    WT_CHECK(id >= 0 && id < v, "cross_entropy: target ", id, " is not in the vocabulary of ", v);
  }
  dispatch_real(logits.dtype(), [&]<class T>() {
    parallel_ranges(r, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto row = const_array(logits.data<T>() + i * v, v);
        const std::int32_t id = target.data<std::int32_t>()[i];
        const T largest = row.maxCoeff();
        lse.data<T>()[i] = largest + std::log((row - largest).exp().sum());
        loss.data<T>()[i] = lse.data<T>()[i] - row[id];
        const T* first = row.data();
        correct.data<std::uint8_t>()[i] = row[id] == largest && std::find(first, first + id, largest) == first + id;
      }
    });
  });
}

void cross_entropy_backward(const Stream&, const Tensor& dloss, const Tensor& logits, const Tensor& target,
                            const Tensor& lse, const Tensor& dlogits) {
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  dispatch_real(logits.dtype(), [&]<class T>() {
    parallel_ranges(r, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        auto grad = array(dlogits.data<T>() + i * v, v);
        const T scale = dloss.data<T>()[i];
        grad = (const_array(logits.data<T>() + i * v, v) - lse.data<T>()[i]).exp() * scale;
        grad[target.data<std::int32_t>()[i]] -= scale;
      }
    });
  });
}

}  // namespace wt::kernels::cpu
