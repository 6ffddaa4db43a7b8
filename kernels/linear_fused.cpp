#include "kernels/linear_fused.h"

#include "kernels/activation.h"
#include "kernels/rms_norm.h"

namespace wt::kernels {

void linear_in_parts(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout,
                     const FusedLinear& parts, const Tensor& y) {
  WT_CHECK(!parts.swiglu || !parts.residual.defined(), "linear_fused: swiglu with a residual");
  Tensor input = x;
  if (parts.norm.defined()) {
    input = Tensor::empty(stream, x.shape(), x.dtype());
    const Tensor rstd = Tensor::empty(stream, {x.dim(0), x.dim(1)}, wide(x.dtype()));
    rms_norm_forward(stream, x, parts.norm, parts.eps, input, rstd);
  }
  if (!parts.swiglu) {
    linear_forward(stream, input, w, layout, parts.bias, parts.residual, y, parts.constant_weight);
    return;
  }
  const Tensor both = Tensor::empty(stream, {y.dim(0), y.dim(1), 2 * y.dim(2)}, x.dtype());
  linear_forward(stream, input, w, layout, parts.bias, {}, both, parts.constant_weight);
  swiglu_forward(stream, both, y);
}

namespace cpu {
void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y) {
  linear_in_parts(stream, x, w, layout, parts, y);
}
}  // namespace cpu

}  // namespace wt::kernels
