#include "kernels/eigen_cpu.h"
#include "kernels/gemm_cpu.h"
#include "kernels/linear.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

// The weight as one of y's outputs alone.
template <class T>
Operand<T> weight_of(const Tensor& w, std::int64_t inputs, std::int64_t outputs, WeightLayout layout,
                     std::int64_t first, bool transposed) {
  const std::int64_t row = layout == WeightLayout::kOutIn ? inputs : outputs;
  return {w.data<std::remove_const_t<T>>() + (first == kAllOutputs ? 0 : first * row), row, w.dim(1) * w.dim(2),
          transposed};
}

// Rows of bias, of the residual or of their sum, for the product to be added to.
template <class T>
void prefill(const LinearExtents& e, const Tensor& bias, const Tensor& residual, T* y) {
  const T* pb = bias.defined() ? bias.data<T>() : nullptr;
  const T* pr = residual.defined() ? residual.data<T>() : nullptr;
  if (pb == nullptr && pr == y) return;
  parallel_ranges(e.g * e.r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      auto out = array(y + row * e.o, e.o);
      if (pb == nullptr) {
        out = const_array(pr + row * e.o, e.o);
      } else if (pr == nullptr) {
        out = const_array(pb + row / e.r * e.o, e.o);
      } else {
        out = const_array(pr + row * e.o, e.o) + const_array(pb + row / e.r * e.o, e.o);
      }
    }
  });
}

}  // namespace

void linear_forward(const Stream&, const Tensor& x, const Tensor& w, WeightLayout layout, const Tensor& bias,
                    const Tensor& residual, const Tensor& y, bool, std::int64_t first) {
  const LinearExtents e = linear_extents(x, y);
  const bool out_in = layout == WeightLayout::kOutIn;
  dispatch_real(x.dtype(), [&]<class T>() {
    const bool filled = bias.defined() || residual.defined();
    if (filled) prefill(e, bias, residual, y.data<T>());
    gemm<T>(e.g, e.r, e.o, e.i, T(1), {x.data<T>(), e.i, e.r * e.i},
            weight_of<const T>(w, e.i, e.o, layout, first, out_in), filled ? T(1) : T(0),
            {y.data<T>(), e.o, e.r * e.o});
  });
}

void linear_backward_input(const Stream&, const Tensor& dy, const Tensor& w, WeightLayout layout, const Tensor& dx,
                           GradMode mode, std::int64_t first) {
  const LinearExtents e = linear_extents(dx, dy);
  const bool out_in = layout == WeightLayout::kOutIn;
  dispatch_real(dy.dtype(), [&]<class T>() {
    gemm<T>(e.g, e.r, e.i, e.o, T(1), {dy.data<T>(), e.o, e.r * e.o},
            weight_of<const T>(w, e.i, e.o, layout, first, !out_in), mode == GradMode::kAccumulate ? T(1) : T(0),
            {dx.data<T>(), e.i, e.r * e.i});
  });
}

void linear_backward_weight(const Stream&, const Tensor& dy, const Tensor& x, WeightLayout layout, const Tensor& dw,
                            std::int64_t first) {
  const LinearExtents e = linear_extents(x, dy);
  dispatch_real(dy.dtype(), [&]<class T>() {
    const Operand<const T> ox{x.data<T>(), e.i, e.r * e.i};
    const Operand<const T> ody{dy.data<T>(), e.o, e.r * e.o};
    if (layout == WeightLayout::kOutIn) {
      gemm<T>(e.g, e.o, e.i, e.r, T(1), {ody.data, ody.row_stride, ody.batch_stride, true}, ox, T(1),
              weight_of<T>(dw, e.i, e.o, layout, first, false));
    } else {
      gemm<T>(e.g, e.i, e.o, e.r, T(1), {ox.data, ox.row_stride, ox.batch_stride, true}, ody, T(1),
              weight_of<T>(dw, e.i, e.o, layout, first, false));
    }
  });
}

void linear_backward_bias(const Stream&, const Tensor& dy, const Tensor& dbias) {
  const std::int64_t g = dy.dim(0), r = dy.dim(1), o = dy.dim(2);
  dispatch_real(dy.dtype(), [&]<class T>() {
    parallel_for(g, [&](std::int64_t layer) {
      auto sum = array(dbias.data<T>() + layer * o, o);
      for (std::int64_t row = 0; row < r; ++row) sum += const_array(dy.data<T>() + (layer * r + row) * o, o);
    });
  });
}

}  // namespace wt::kernels::cpu
