#include "kernels/argmax.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(argmax_rows)

void argmax_rows(const Stream& stream, const Tensor& x, const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  WT_CHECK_SHAPE("argmax", x, r, v);
  WT_CHECK_SHAPE("argmax", index, r);
  WT_CHECK(v > 0, "argmax: x is ", x, ", its rows are empty");
  WT_RUN(kHead, argmax_rows, stream, x, index);
}

}  // namespace wt::kernels
