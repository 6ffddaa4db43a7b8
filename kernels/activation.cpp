#include "kernels/activation.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(swiglu_forward)
WT_BACKENDS(swiglu_backward)
WT_BACKENDS(gelu_forward)
WT_BACKENDS(gelu_backward)

void swiglu_forward(const Stream& stream, const Tensor& gate_up, const Tensor& out) {
  WT_CHECK(gate_up.shape()[-1] == 2 * out.shape()[-1] && gate_up.numel() == 2 * out.numel(), "swiglu: gate_up is ",
           gate_up, ", out is ", out);
  WT_RUN(kElementwise, swiglu_forward, stream, gate_up, out);
}

void swiglu_backward(const Stream& stream, const Tensor& dout, const Tensor& gate_up, const Tensor& dgate_up) {
  WT_CHECK(gate_up.numel() == 2 * dout.numel() && dgate_up.shape() == gate_up.shape(), "swiglu backward: dout is ",
           dout, ", gate_up ", gate_up, ", dgate_up ", dgate_up);
  WT_RUN(kElementwise, swiglu_backward, stream, dout, gate_up, dgate_up);
}

void gelu_forward(const Stream& stream, const Tensor& x, const Tensor& out) {
  WT_CHECK(x.shape() == out.shape(), "gelu: x is ", x, ", out is ", out);
  WT_RUN(kElementwise, gelu_forward, stream, x, out);
}

void gelu_backward(const Stream& stream, const Tensor& dout, const Tensor& x, const Tensor& dx) {
  WT_CHECK(x.shape() == dout.shape() && x.shape() == dx.shape(), "gelu backward: dout is ", dout, ", x ", x, ", dx ",
           dx);
  WT_RUN(kElementwise, gelu_backward, stream, dout, x, dx);
}

}  // namespace wt::kernels
