#include <cmath>

#include "kernels/argmax.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

void argmax_rows(const Stream&, const Tensor& x, const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_for(r, [&](std::int64_t i) {
      const T* row = x.data<T>() + i * v;
      std::int64_t best = 0;
      for (std::int64_t at = 1; at < v; ++at) {
        if (row[at] > row[best] || (std::isnan(row[best]) && !std::isnan(row[at]))) best = at;
      }
      index.data<std::int32_t>()[i] = std::isnan(row[best]) ? 0 : static_cast<std::int32_t>(best);
    });
  });
}

}  // namespace wt::kernels::cpu
