#include "kernels/adamw.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(sum_of_squares)
WT_BACKENDS(adamw)

void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out) {
  WT_CHECK(out.numel() == 1, "sum_of_squares: out is ", out, ", expected one element");
  WT_RUN(kOptimizer, sum_of_squares, stream, g, out);
}

void adamw(const Stream& stream, const AdamWStep& options, const Tensor& dw, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& low) {
  WT_CHECK(dw.shape() == w.shape() && m.shape() == w.shape() && v.shape() == w.shape(), "adamw: w is ", w, ", dw ", dw,
           ", m ", m, ", v ", v);
  const DType dtype = low.defined() ? DType::kF32 : w.dtype();
  WT_CHECK(dw.dtype() == dtype && m.dtype() == dtype && v.dtype() == dtype, "adamw: w is ", w, ", dw ", dw, ", m ", m,
           ", v ", v, ", expected ", name_of(dtype));
  WT_CHECK(!low.defined() || (low.shape() == w.shape() && low.dtype() == DType::kI16 && w.dtype() == DType::kBF16),
           "adamw: w is ", w, ", its low half ", low);
  WT_RUN(kOptimizer, adamw, stream, options, dw, m, v, w, low);
}

}  // namespace wt::kernels
