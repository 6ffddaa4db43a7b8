#include "kernels/sample.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(sample_rows)

void sample_rows(const Stream& stream, const Tensor& x, double temperature, double top_p, const Tensor& uniform,
                 const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  WT_CHECK_SHAPE("sample", x, r, v);
  WT_CHECK_SHAPE("sample", uniform, r);
  WT_CHECK_SHAPE("sample", index, r);
  WT_CHECK(v > 0, "sample: x is ", x, ", its rows are empty");
  WT_CHECK(temperature > 0 && top_p > 0 && top_p <= 1, "sample: temperature ", temperature, " and top_p ", top_p,
           ", expected above 0, and the latter at most 1");
  WT_RUN(kElementwise, sample_rows, stream, x, temperature, top_p, uniform, index);
}

}  // namespace wt::kernels
