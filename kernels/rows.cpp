#include "kernels/rows.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_taken(const char* op, const Tensor& x, const Tensor& first, const Tensor& out) {
  const TakenExtents e = taken_extents(x, first, out);
  WT_CHECK(x.numel() == e.c * e.t * e.d && out.numel() == e.c * e.m * e.d, op, ": x is ", x, ", out ", out, ", for ",
           e.c, " cells");
}

void check_list(const char* op, const Tensor& x, const Tensor& index, const Tensor& list) {
  const std::int64_t d = x.shape()[-1], r = index.numel();
  WT_CHECK(list.numel() == r * d && list.shape()[-1] == d, op, ": ", r, " rows of ", x, " and ", list);
}

}  // namespace

WT_BACKENDS(take_rows_forward)
WT_BACKENDS(take_rows_backward)
WT_BACKENDS(gather_rows)
WT_BACKENDS(scatter_add_rows)
WT_BACKENDS(put_rows)
WT_BACKENDS(add)
WT_BACKENDS(scale)

void take_rows_forward(const Stream& stream, const Tensor& x, const Tensor& first, const Tensor& out) {
  check_taken("take_rows", x, first, out);
  WT_RUN(kElementwise, take_rows_forward, stream, x, first, out);
}

void take_rows_backward(const Stream& stream, const Tensor& dout, const Tensor& first, const Tensor& dx,
                        GradMode mode) {
  if (mode == GradMode::kSkip) return;
  check_taken("take_rows backward", dx, first, dout);
  WT_RUN(kElementwise, take_rows_backward, stream, dout, first, dx, mode);
}

void gather_rows(const Stream& stream, const Tensor& x, const Tensor& index, const Tensor& out) {
  check_list("gather_rows", x, index, out);
  WT_RUN(kElementwise, gather_rows, stream, x, index, out);
}

void scatter_add_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  check_list("scatter_add_rows", x, index, values);
  WT_RUN(kElementwise, scatter_add_rows, stream, values, index, x);
}

void put_rows(const Stream& stream, const Tensor& values, const Tensor& index, const Tensor& x) {
  check_list("put_rows", x, index, values);
  WT_RUN(kElementwise, put_rows, stream, values, index, x);
}

void add(const Stream& stream, const Tensor& x, const Tensor& y) {
  WT_CHECK(x.shape() == y.shape(), "add: x is ", x, ", y is ", y);
  WT_RUN(kElementwise, add, stream, x, y);
}

void scale(const Stream& stream, double factor, const Tensor& y) {
  WT_RUN(kElementwise, scale, stream, factor, y);
}

}  // namespace wt::kernels
