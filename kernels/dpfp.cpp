#include "kernels/dpfp.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_features(const char* op, const Tensor& x, std::int64_t nu, const Tensor& phi) {
  const std::int64_t d = x.shape()[-1];
  WT_CHECK(d > 0 && nu > 0 && nu < 2 * d && phi.shape()[-1] == 2 * nu * d && phi.numel() == x.numel() * 2 * nu, op,
           ": x is ", x, ", phi ", phi, ", nu ", nu, "; expected 2·nu·d features and nu below 2·d");
}

}  // namespace

WT_BACKENDS(dpfp_forward)
WT_BACKENDS(dpfp_backward)

void dpfp_forward(const Stream& stream, const Tensor& x, std::int64_t nu, const Tensor& phi) {
  check_features("dpfp", x, nu, phi);
  WT_RUN(kMemory, dpfp_forward, stream, x, nu, phi);
}

void dpfp_backward(const Stream& stream, const Tensor& dphi, const Tensor& x, std::int64_t nu, const Tensor& dx) {
  check_features("dpfp backward", x, nu, dphi);
  WT_CHECK(dx.shape() == x.shape(), "dpfp backward: dx is ", dx, ", expected ", x.shape());
  WT_RUN(kMemory, dpfp_backward, stream, dphi, x, nu, dx);
}

}  // namespace wt::kernels
