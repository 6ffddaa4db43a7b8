#include "kernels/activation.h"
#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {
constexpr double kGeluScale = 0.79788456080286535588;  // √(2/π)
constexpr double kGeluCubic = 0.044715;
}  // namespace

void swiglu_forward(const Stream&, const Tensor& gate_up, const Tensor& out) {
  const std::int64_t f = out.shape()[-1], r = out.numel() / (f == 0 ? 1 : f);
  dispatch_real(out.dtype(), [&]<class T>() {
    parallel_ranges(r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto gate = const_array(gate_up.data<T>() + row * 2 * f, f);
        const auto up = const_array(gate_up.data<T>() + row * 2 * f + f, f);
        array(out.data<T>() + row * f, f) = gate * up / (T(1) + (-gate).exp());
      }
    });
  });
}

void swiglu_backward(const Stream&, const Tensor& dout, const Tensor& gate_up, const Tensor& dgate_up) {
  const std::int64_t f = dout.shape()[-1], r = dout.numel() / (f == 0 ? 1 : f);
  dispatch_real(dout.dtype(), [&]<class T>() {
    parallel_ranges(r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      Eigen::Array<T, Eigen::Dynamic, 1> sigmoid(f), dgate(f);
      for (std::int64_t row = begin; row < end; ++row) {
        const auto gate = const_array(gate_up.data<T>() + row * 2 * f, f);
        const auto up = const_array(gate_up.data<T>() + row * 2 * f + f, f);
        const auto grad = const_array(dout.data<T>() + row * f, f);
        sigmoid = T(1) / (T(1) + (-gate).exp());
        dgate = grad * up * sigmoid * (T(1) + gate * (T(1) - sigmoid));
        array(dgate_up.data<T>() + row * 2 * f + f, f) = grad * gate * sigmoid;
        array(dgate_up.data<T>() + row * 2 * f, f) = dgate;
      }
    });
  });
}

void gelu_forward(const Stream&, const Tensor& x, const Tensor& out) {
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      const auto in = const_array(x.data<T>() + begin, end - begin);
      array(out.data<T>() + begin, end - begin) =
          T(0.5) * in * (T(1) + (T(kGeluScale) * (in + T(kGeluCubic) * in.cube())).tanh());
    });
  });
}

void gelu_backward(const Stream&, const Tensor& dout, const Tensor& x, const Tensor& dx) {
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      const auto in = const_array(x.data<T>() + begin, end - begin);
      const auto grad = const_array(dout.data<T>() + begin, end - begin);
      const Eigen::Array<T, Eigen::Dynamic, 1> tanh = (T(kGeluScale) * (in + T(kGeluCubic) * in.cube())).tanh();
      array(dx.data<T>() + begin, end - begin) =
          grad * (T(0.5) * (T(1) + tanh) +
                  T(0.5) * in * (T(1) - tanh.square()) * T(kGeluScale) * (T(1) + T(3 * kGeluCubic) * in.square()));
    });
  });
}

}  // namespace wt::kernels::cpu
