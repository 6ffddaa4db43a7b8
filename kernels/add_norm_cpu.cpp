#include "kernels/add_norm.h"
#include "kernels/norm_cpu.h"

namespace wt::kernels::cpu {
namespace {

struct Same {
  std::int64_t operator()(std::int64_t row) const { return row; }
};

// Makes a row of h and points to it.
template <class T>
auto sum_rows(const NormExtents& e, const Tensor& x, const Tensor& delta, const RowOrder& place, const Tensor& h) {
  return [&, d = e.d](std::int64_t row) {
    T* const sum = h.data<T>() + row * d;
    array(sum, d) = const_array(x.data<T>() + row * d, d) + const_array(delta.data<T>() + place(row) * d, d);
    return sum;
  };
}

// Writes a row of dh to where its delta lies.
template <class T>
auto copy_rows(const NormExtents& e, const Tensor& dh, const RowOrder& place, const Tensor& ddelta) {
  return [&, d = e.d](std::int64_t row) {
    if (!ddelta.defined()) return;
    array(ddelta.data<T>() + place(row) * d, d) = const_array(dh.data<T>() + row * d, d);
  };
}

}  // namespace

void add_rms_norm_forward(const Stream&, const Tensor& x, const Tensor& delta, const Tensor& order, const Tensor& w,
                          double eps, const Tensor& h, const Tensor& n, const Tensor& rstd) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("add_norm", order, e.g, e.r);
  dispatch_real(x.dtype(),
                [&]<class T>() { rms_rows<T>(e, w, eps, n, rstd, sum_rows<T>(e, x, delta, place, h), Same{}); });
}

void add_rms_norm_backward(const Stream&, const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& rstd,
                           const Tensor& order, const Tensor& dh, GradMode dh_mode, const Tensor& dw,
                           const Tensor& ddelta) {
  const NormExtents e = norm_extents(h);
  const RowOrder place("add_norm backward", order, e.g, e.r);
  dispatch_real(h.dtype(), [&]<class T>() {
    rms_rows_backward<T>(e, dn, h, w, rstd, dh, dh_mode, dw, Same{}, copy_rows<T>(e, dh, place, ddelta));
  });
}

void add_layer_norm_forward(const Stream&, const Tensor& x, const Tensor& delta, const Tensor& order, const Tensor& w,
                            const Tensor& b, double eps, const Tensor& h, const Tensor& n, const Tensor& mean,
                            const Tensor& rstd) {
  const NormExtents e = norm_extents(x);
  const RowOrder place("add_norm", order, e.g, e.r);
  dispatch_real(x.dtype(), [&]<class T>() {
    layer_rows<T>(e, w, b, eps, n, mean, rstd, sum_rows<T>(e, x, delta, place, h), Same{});
  });
}

void add_layer_norm_backward(const Stream&, const Tensor& dn, const Tensor& h, const Tensor& w, const Tensor& mean,
                             const Tensor& rstd, const Tensor& order, const Tensor& dh, GradMode dh_mode,
                             const Tensor& dw, const Tensor& db, const Tensor& ddelta) {
  const NormExtents e = norm_extents(h);
  const RowOrder place("add_norm backward", order, e.g, e.r);
  dispatch_real(h.dtype(), [&]<class T>() {
    layer_rows_backward<T>(e, dn, h, w, mean, rstd, dh, dh_mode, dw, db, Same{}, copy_rows<T>(e, dh, place, ddelta));
  });
}

}  // namespace wt::kernels::cpu
