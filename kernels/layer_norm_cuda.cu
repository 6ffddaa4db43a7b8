#include "kernels/layer_norm.h"
#include "kernels/layer_norm_cuda.cuh"

namespace wt::kernels::cuda {

void layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& order) {
  run_layer_forward<false>("layer_norm", stream, x, {}, order, w, b, eps, {}, y, mean, rstd);
}

void layer_norm_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode dx_mode, const Tensor& dw, const Tensor& db,
                         const Tensor& order) {
  run_layer_backward<false>("layer_norm backward", stream, dy, x, order, w, mean, rstd, dx, dx_mode, {}, dw, db);
}

}  // namespace wt::kernels::cuda
