#include "kernels/layer_norm.h"
#include "kernels/norm_cpu.h"

namespace wt::kernels::cpu {

void layer_norm_forward(const Stream&, const Tensor& x, const Tensor& w, const Tensor& b, double eps, const Tensor& y,
                        const Tensor& mean, const Tensor& rstd, const Tensor& order) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("layer_norm", order, e.g, e.r);
  dispatch_real(x.dtype(), [&]<class T>() {
    layer_rows<T>(
        e, w, b, eps, y, mean, rstd, [&](std::int64_t row) { return x.data<T>() + row * e.d; }, place);
  });
}

void layer_norm_backward(const Stream&, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db,
                         const Tensor& order) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("layer_norm backward", order, e.g, e.r);
  dispatch_real(x.dtype(), [&]<class T>() {
    layer_rows_backward<T>(e, dy, x, w, mean, rstd, dx, dx_mode, dw, db, place, [](std::int64_t) {});
  });
}

}  // namespace wt::kernels::cpu
