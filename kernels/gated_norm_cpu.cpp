#include <cmath>

#include "kernels/gated_norm.h"
#include "kernels/norm_cpu.h"

namespace wt::kernels::cpu {
namespace {

struct Extents {
  std::int64_t g, r, d, stride, groups, n;  // layers, rows of each, channels, columns of z, groups of n channels
};
Extents extents(const Tensor& y, const Tensor& z, const GatedNorm& norm) {
  return {y.dim(0), y.dim(1) * y.dim(2), y.dim(3), z.dim(3), norm.groups, y.dim(3) / norm.groups};
}

}  // namespace

void gated_norm_forward(const Stream&, const Tensor& y, const Tensor& z, const Tensor& w, const GatedNorm& norm,
                        const Tensor& o, const Tensor& rstd) {
  const Extents e = extents(y, z, norm);
  const std::int64_t n = e.n;
  dispatch_real(y.dtype(), [&]<class T>() {
    parallel_ranges(e.g * e.r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t group = 0; group < e.groups; ++group) {
          const std::int64_t at = row * e.d + group * n;
          const auto in = const_array(y.data<T>() + at, n);
          const auto gate = const_array(z.data<T>() + row * e.stride + group * n, n);
          const auto weight = const_array(w.data<T>() + row / e.r * e.d + group * n, n);
          auto out = array(o.data<T>() + at, n);
          T& rho = rstd.data<T>()[row * e.groups + group];
          if (norm.norm_first) {
            rho = T(1) / std::sqrt(in.square().mean() + T(norm.eps));
            out = weight * in * rho * gate / (T(1) + (-gate).exp());
          } else {
            out = in * gate / (T(1) + (-gate).exp());
            rho = T(1) / std::sqrt(out.square().mean() + T(norm.eps));
            out *= weight * rho;
          }
        }
      }
    });
  });
}

void gated_norm_backward(const Stream&, const Tensor& dout, const Tensor& y, const Tensor& z, const Tensor& w,
                         const Tensor& rstd, const GatedNorm& norm, const Tensor& dy, const Tensor& dz,
                         const Tensor& dw) {
  const Extents e = extents(y, z, norm);
  const std::int64_t n = e.n;
  dispatch_real(y.dtype(), [&]<class T>() {
    using Row = Eigen::Array<T, Eigen::Dynamic, 1>;
    const std::vector<Tensor> sums = dw.defined() ? std::vector<Tensor>{dw} : std::vector<Tensor>{};
    summed_pieces<T>({e.g, e.r, e.d}, sums, [&](std::int64_t layer, std::int64_t begin, std::int64_t end, T* partial) {
      Row sigmoid(n), normed(n), grad(n);
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t group = 0; group < e.groups; ++group) {
          const std::int64_t at = row * e.d + group * n;
          const auto in = const_array(y.data<T>() + at, n), given = const_array(dout.data<T>() + at, n);
          const auto gate = const_array(z.data<T>() + row * e.stride + group * n, n);
          const auto weight = const_array(w.data<T>() + layer * e.d + group * n, n);
          auto in_grad = array(dy.data<T>() + at, n);
          auto gate_grad = array(dz.data<T>() + row * e.stride + group * n, n);
          const T rho = rstd.data<T>()[row * e.groups + group];
          sigmoid = T(1) / (T(1) + (-gate).exp());
          const auto slope = sigmoid * (T(1) + gate * (T(1) - sigmoid));  // of silu
          if (norm.norm_first) {
            normed = in * rho;
            grad = given * gate * sigmoid;  // of w ∘ normed
            gate_grad = given * weight * normed * slope;
            if (!sums.empty()) array(partial + group * n, n) += grad * normed;
            grad *= weight;
            in_grad = rho * (grad - normed * (grad * normed).mean());
          } else {
            normed = in * gate * sigmoid * rho;
            if (!sums.empty()) array(partial + group * n, n) += given * normed;
            grad = given * weight;
            grad = rho * (grad - normed * (grad * normed).mean());  // of y ∘ silu(z)
            gate_grad = grad * in * slope;
            in_grad = grad * gate * sigmoid;
          }
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
