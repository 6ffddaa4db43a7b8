#include "kernels/ssd.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_inputs(const char* op, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights, const SsdShape& shape,
                  const Tensor& s, const Cells& cells) {
  WT_CHECK(shape.heads > 0 && shape.width > 0 && shape.state > 0 && shape.chunk > 0, op, ": ", shape.heads,
           " heads of width ", shape.width, ", state ", shape.state, ", chunks of ", shape.chunk, " rows");
  WT_CHECK(shape.groups > 0 && shape.heads % shape.groups == 0, op, ": ", shape.heads, " heads do not divide into ",
           shape.groups, " groups");
  WT_CHECK(shape.least >= 0 && shape.least <= shape.most, op, ": limits of the step are ", shape.least, " and ",
           shape.most);
  WT_CHECK(xbc.shape().rank() == 4, op, ": xbc is ", xbc, ", expected (G, B, T, E)");
  const std::int64_t g = xbc.dim(0), b = xbc.dim(1), t = xbc.dim(2);
  WT_CHECK_SHAPE(op, xbc, g, b, t, shape.columns());
  WT_CHECK_SHAPE(op, dt, g, b, t, shape.heads);
  WT_CHECK_SHAPE(op, weights.a_log, g, shape.heads);
  WT_CHECK_SHAPE(op, weights.d, g, shape.heads);
  WT_CHECK_SHAPE(op, weights.dt_bias, g, shape.heads);
  WT_CHECK_SHAPE(op, s, g, b, shape.heads, shape.width, shape.state);
  WT_CHECK_SHAPE(op, cells.flags, g, b);
  WT_CHECK_SHAPE(op, cells.rows, g, b);
}

}  // namespace

WT_BACKENDS(ssd_forward)
WT_BACKENDS(ssd_backward)

void ssd_forward(const Stream& stream, const Tensor& xbc, const Tensor& dt, const SsdWeights& weights,
                 const SsdShape& shape, const Tensor& s, const Cells& cells, const Tensor& y, const Tensor& s_out) {
  check_inputs("ssd", xbc, dt, weights, shape, s, cells);
  const std::int64_t g = xbc.dim(0), b = xbc.dim(1), t = xbc.dim(2);
  WT_CHECK_SHAPE("ssd", y, g, b, t, shape.inner());
  WT_CHECK_SHAPE("ssd", s_out, g, b, shape.heads, shape.width, shape.state);
  WT_RUN(kScan, ssd_forward, stream, xbc, dt, weights, shape, s, cells, y, s_out);
}

void ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                  const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                  const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                  const Tensor& ds) {
  const char* op = "ssd backward";
  check_inputs(op, xbc, dt, weights, shape, s, cells);
  const std::int64_t g = xbc.dim(0), b = xbc.dim(1), t = xbc.dim(2);
  WT_CHECK_SHAPE(op, dy, g, b, t, shape.inner());
  WT_CHECK_SHAPE(op, dxbc, g, b, t, shape.columns());
  WT_CHECK_SHAPE(op, ddt, g, b, t, shape.heads);
  if (ds_out.defined()) WT_CHECK_SHAPE(op, ds_out, g, b, shape.heads, shape.width, shape.state);
  if (ds.defined()) WT_CHECK_SHAPE(op, ds, g, b, shape.heads, shape.width, shape.state);
  if (dweights.a_log.defined()) WT_CHECK_SHAPE(op, dweights.a_log, g, shape.heads);
  if (dweights.d.defined()) WT_CHECK_SHAPE(op, dweights.d, g, shape.heads);
  if (dweights.dt_bias.defined()) WT_CHECK_SHAPE(op, dweights.dt_bias, g, shape.heads);
  WT_CHECK(!dxbc.overlaps(xbc) && !dxbc.overlaps(dy), op, ": dxbc lies in xbc or dy");
  WT_RUN(kScan, ssd_backward, stream, dy, xbc, dt, weights, shape, s, cells, ds_out, dxbc, ddt, dweights, ds);
}

}  // namespace wt::kernels
