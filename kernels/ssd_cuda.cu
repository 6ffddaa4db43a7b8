#include "kernels/ssd_pass_cuda.cuh"

namespace wt::kernels::cuda {

void ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                 const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y, const Tensor& s_out) {
  if (s.numel() == 0) return;
  if (tensor_ssd_forward(stream, xbc, dt, weights, shape, s, cells, y, s_out)) return;
  dispatch_float("ssd", xbc.dtype(), [&]<class T>() {
    SsdPass<T> pass;
    pass.start = data<float>(s);
    pass.end = data<float>(s_out);
    pass.y = data<T>(y);
    run_ssd_pass<T, false>("ssd", stream, ssd_arguments<T>(xbc, dt, weights, shape, cells), pass);
  });
}

void ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                  const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                  const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                  const Tensor& ds) {
  if (s.numel() == 0) return;
  if (tensor_ssd_backward(stream, dy, xbc, dt, weights, shape, s, cells, ds_out, dxbc, ddt, dweights, ds)) return;
  plain_ssd_backward(stream, dy, xbc, dt, weights, shape, s, cells, ds_out, dxbc, ddt, dweights, ds);
}

}  // namespace wt::kernels::cuda
