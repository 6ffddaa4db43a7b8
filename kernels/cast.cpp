#include "kernels/cast.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_halves(const Tensor& x, const Tensor& high, const Tensor& low) {
  WT_CHECK(high.shape() == x.shape() && low.shape() == x.shape() && x.dtype() == DType::kF32 &&
               high.dtype() == DType::kBF16 && low.dtype() == DType::kI16,
           "halves of a float: x is ", x, ", high ", high, ", low ", low);
}

}  // namespace

WT_BACKENDS(cast)
WT_BACKENDS(split_float)
WT_BACKENDS(join_float)

void cast(const Stream& stream, const Tensor& x, const Tensor& y) {
  WT_CHECK(x.shape() == y.shape(), "cast: x is ", x, ", y is ", y);
  WT_RUN(kElementwise, cast, stream, x, y);
}

void split_float(const Stream& stream, const Tensor& x, const Tensor& high, const Tensor& low) {
  check_halves(x, high, low);
  WT_RUN(kElementwise, split_float, stream, x, high, low);
}

void join_float(const Stream& stream, const Tensor& high, const Tensor& low, const Tensor& x) {
  check_halves(x, high, low);
  WT_RUN(kElementwise, join_float, stream, high, low, x);
}

}  // namespace wt::kernels
