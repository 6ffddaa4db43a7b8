#include "kernels/rms_norm.h"
#include "kernels/rms_norm_cuda.cuh"

namespace wt::kernels::cuda {

void rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, double eps, const Tensor& y,
                      const Tensor& rstd, const Tensor& order) {
  run_rms_forward<false>("rms_norm", stream, x, {}, order, w, eps, {}, y, rstd);
}

void rms_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& order) {
  run_rms_backward<false>("rms_norm backward", stream, dy, x, order, w, rstd, dx, dx_mode, {}, dw);
}

}  // namespace wt::kernels::cuda
