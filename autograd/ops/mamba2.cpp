#include "autograd/ops/mamba2.h"

#include "kernels/causal_conv.h"

namespace wt::ops {
namespace {

struct Saved {
  Tensor zxbc, dt, tail, s, y, rstd;
  Mamba2Weights weights;
  kernels::SsdShape shape;
  kernels::GatedNorm norm;
  kernels::Cells cells;
  int lo, hi, zxbc_id, dt_id, tail_id, s_id, o_id, tail_out_id, s_out_id;
  std::vector<Tensor> tensors() const { return {zxbc, dt, tail, s, y, rstd}; }
};

// (G, E, K) of (G, E, 1, K).
Tensor taps(const Tensor& conv) {
  return conv.reshape({conv.dim(0), conv.dim(1), conv.dim(3)});
}

Tensor value(const Parameter* parameter, int lo, int hi) {
  return parameter == nullptr ? Tensor{} : parameter->value_slice(lo, hi);
}

bool trains(const Parameter* parameter) {
  return parameter != nullptr && parameter->trainable;
}

// Undefined: frozen, or not there.
Tensor gradient(const Parameter* parameter, const Saved& s) {
  return trains(parameter) ? parameter->grad_slice(s.lo, s.hi) : Tensor{};
}

kernels::SsdWeights scan_weights(const Mamba2Weights& weights, int lo, int hi) {
  return {value(weights.a_log, lo, hi), value(weights.d, lo, hi), value(weights.dt_bias, lo, hi)};
}

// [x | b | c] as the scan sees them.
Tensor convolve(const Stream& stream, const Saved& s, const Tensor& tail_out) {
  Shape shape = s.zxbc.shape();
  shape.set(3, s.shape.columns());
  const Tensor xbc = Tensor::empty(stream, shape, s.zxbc.dtype());
  kernels::causal_conv_forward(stream, s.zxbc, s.shape.inner(), taps(value(s.weights.conv, s.lo, s.hi)),
                               value(s.weights.conv_bias, s.lo, s.hi), s.tail, s.cells, xbc, tail_out);
  return xbc;
}

Tensor like(const Stream& stream, const Tensor& tensor) {
  return Tensor::empty(stream, tensor.shape(), tensor.dtype());
}

void backward(BackwardPass& pass, const Saved& s) {
  const Stream& stream = pass.stream();
  Tensor dy = pass.take(s.o_id);
  const Tensor dtail_out = pass.take(s.tail_out_id), ds_out = pass.take(s.s_out_id);
  if (!dy.defined() && !dtail_out.defined() && !ds_out.defined()) return;
  const Mamba2Weights& w = s.weights;
  const bool through_conv = s.zxbc_id >= 0 || s.tail_id >= 0 || trains(w.conv) || trains(w.conv_bias);
  const bool through_scan =
      through_conv || s.dt_id >= 0 || s.s_id >= 0 || trains(w.dt_bias) || trains(w.a_log) || trains(w.d);
  if (!through_scan && !trains(w.norm)) return;

  // Memory for what nobody wants where a kernel writes it together with what somebody does.
  const auto fresh = [&](int id, const Tensor& input) {
    const auto [slot, mode] = pass.slot(id, input);
    WT_CHECK(mode != GradMode::kAccumulate, "mamba2: its inputs must not feed another op");
    return mode == GradMode::kSkip ? like(stream, input) : slot;
  };
  const Tensor dzxbc = fresh(s.zxbc_id, s.zxbc);
  if (!dy.defined()) dy = Tensor::zeros(stream, s.y.shape(), s.y.dtype());
  kernels::gated_norm_backward(stream, dy, s.y, s.zxbc, value(w.norm, s.lo, s.hi), s.rstd, s.norm, dy, dzxbc,
                               gradient(w.norm, s));
  if (!through_scan) return;

  // The state's gradient is changed in place, on its way to the segment before.
  const auto before = [&](int id, const Tensor& after, const Tensor& state) {
    if (id < 0) return Tensor{};
    return after.defined() ? after : like(stream, state);
  };
  const Tensor ds = before(s.s_id, ds_out, s.s), dtail = before(s.tail_id, dtail_out, s.tail);
  const Tensor xbc = convolve(stream, s, like(stream, s.tail)), dxbc = like(stream, xbc);
  kernels::ssd_backward(stream, dy, xbc, s.dt, scan_weights(w, s.lo, s.hi), s.shape, s.s, s.cells, ds_out, dxbc,
                        fresh(s.dt_id, s.dt), {gradient(w.a_log, s), gradient(w.d, s), gradient(w.dt_bias, s)}, ds);
  pass.pass(s.s_id, ds);
  if (!through_conv) return;
  const Tensor dconv = gradient(w.conv, s);
  kernels::causal_conv_backward(stream, dxbc, s.zxbc, s.shape.inner(), taps(value(w.conv, s.lo, s.hi)),
                                value(w.conv_bias, s.lo, s.hi), s.tail, s.cells, dtail_out, dzxbc,
                                dconv.defined() ? taps(dconv) : dconv, gradient(w.conv_bias, s), dtail);
  pass.pass(s.tail_id, dtail);
}

}  // namespace

Mamba2Output mamba2(Context& ctx, const Var& zxbc, const Var& dt, const Mamba2State& state,
                    const Mamba2Weights& weights, const kernels::SsdShape& shape, const kernels::GatedNorm& norm,
                    const kernels::Cells& cells, const Tensor& tail_out, const Tensor& s_out) {
  const OpScope scope("mamba2");
  const Shape& rows = zxbc.value.shape();
  WT_CHECK(rows.rank() == 4 && rows[3] == shape.inner() + shape.columns(), "mamba2: zxbc is ", zxbc.value,
           ", expected rows of ", shape.inner() + shape.columns());
  Saved s{zxbc.value, dt.value, state.tail.value, state.s.value, {}, {}, weights, shape, norm, cells, ctx.lo, ctx.hi,
          zxbc.id,    dt.id,    state.tail.id,    state.s.id,    -1, -1, -1};
  const DType dtype = zxbc.value.dtype();
  const Tensor xbc = convolve(ctx.stream, s, tail_out);
  s.y = Tensor::empty(ctx.stream, {rows[0], rows[1], rows[2], shape.inner()}, dtype);
  s.rstd = Tensor::empty(ctx.stream, {rows[0], rows[1], rows[2], norm.groups}, wide(dtype));
  kernels::ssd_forward(ctx.stream, xbc, s.dt, scan_weights(weights, s.lo, s.hi), shape, s.s, cells, s.y, s_out);
  const Tensor o = ctx.recording() ? like(ctx.stream, s.y) : s.y;
  kernels::gated_norm_forward(ctx.stream, s.y, s.zxbc, value(weights.norm, s.lo, s.hi), norm, o, s.rstd);
  if (!ctx.recording()) return {o, {tail_out, s_out}};
  const Mamba2Output out{ctx.record->output(o, true),
                         {ctx.record->output(tail_out, true), ctx.record->output(s_out, true)}};
  s.o_id = out.o.id;
  s.tail_out_id = out.state.tail.id;
  s.s_out_id = out.state.s.id;
  ctx.record->record("mamba2", std::move(s), backward);
  return out;
}

}  // namespace wt::ops
