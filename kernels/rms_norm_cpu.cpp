#include "kernels/norm_cpu.h"
#include "kernels/rms_norm.h"

namespace wt::kernels::cpu {

void rms_norm_forward(const Stream&, const Tensor& x, const Tensor& w, double eps, const Tensor& y, const Tensor& rstd,
                      const Tensor& order) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("rms_norm", order, e.g, e.r);
  dispatch_real(x.dtype(), [&]<class T>() {
    rms_rows<T>(
        e, w, eps, y, rstd, [&](std::int64_t row) { return x.data<T>() + row * e.d; }, place);
  });
}

void rms_norm_backward(const Stream&, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& order) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("rms_norm backward", order, e.g, e.r);
  dispatch_real(x.dtype(), [&]<class T>() {
    rms_rows_backward<T>(e, dy, x, w, rstd, dx, dx_mode, dw, place, [](std::int64_t) {});
  });
}

}  // namespace wt::kernels::cpu
