#include "kernels/add_norm.h"
#include "kernels/layer_norm_cuda.cuh"
#include "kernels/rms_norm_cuda.cuh"

namespace wt::kernels::cuda {

void add_rms_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                          const Tensor& w, double eps, const Tensor& h, const Tensor& n, const Tensor& rstd) {
  run_rms_forward<true>("add_norm", stream, x, delta, order, w, eps, h, n, rstd);
}

void add_rms_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& rstd,
                           const Tensor& order, const Tensor& dh, GradMode dh_mode, const Tensor& dw,
                           const Tensor& ddelta) {
  run_rms_backward<true>("add_norm backward", stream, dn, h, order, w, rstd, dh, dh_mode, ddelta, dw);
}

void add_layer_norm_forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order,
                            const Tensor& w, const Tensor& b, double eps, const Tensor& h, const Tensor& n,
                            const Tensor& mean, const Tensor& rstd) {
  run_layer_forward<true>("add_norm", stream, x, delta, order, w, b, eps, h, n, mean, rstd);
}

void add_layer_norm_backward(const Stream& stream, const Tensor& dn, const Tensor& h, const Tensor& w,
                             const Tensor& mean, const Tensor& rstd, const Tensor& order, const Tensor& dh,
                             GradMode dh_mode, const Tensor& dw, const Tensor& db, const Tensor& ddelta) {
  run_layer_backward<true>("add_norm backward", stream, dn, h, order, w, mean, rstd, dh, dh_mode, ddelta, dw, db);
}

}  // namespace wt::kernels::cuda
