#include "layers/linear.h"

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/flat.h"
#include "autograd/ops/linear.h"
#include "kernels/linear_fused.h"
#include "layers/builder.h"
#include "layers/model_config.h"

namespace wt {

using kernels::WeightLayout;

namespace {

// Of decoding: what one kernel takes (kernels/linear_fused.h). With more a norm for each product would cost more than
// one for both.
constexpr std::int64_t kFewRows = 4;

}  // namespace

Linear::Linear(const Builder& builder, const LinearSpec& spec)
    : inputs_(spec.inputs), outputs_(0), dropout_(builder.config().dropout) {
  const WeightLayout layout = builder.config().layout;
  const bool out_in = layout == WeightLayout::kOutIn;
  std::vector<PublishedPart> weights, biases;
  for (const LinearSpec::Part& part : spec.parts) {
    const std::int64_t end = outputs_ + part.outputs;
    weights.push_back({part.name + ".weight", out_in ? outputs_ : 0, out_in ? end : spec.inputs, spec.init});
    biases.push_back({part.name + ".bias", outputs_, end, Init::zeros()});
    outputs_ = end;
  }
  WT_CHECK(out_in || weights.size() == 1, "linear: ", spec.key, " is (in, out) and has ", weights.size(),
           " parts, expected one");
  weight_ = &builder.add(spec.key, out_in ? Shape{outputs_, inputs_} : Shape{inputs_, outputs_}, std::move(weights),
                         true, layout);
  if (spec.bias) bias_ = &builder.add(spec.key + ".bias", {outputs_}, std::move(biases), false);
  if (builder.config().lora) adapter_ = Adapter::make(*builder.config().lora, *weight_, spec.site, builder.store());
}

// Matrices that are (in, out) have no kernel that does it all.
bool Linear::fuses(const Context& ctx) const {
  return !ctx.recording() && adapter_ == nullptr && weight_->spec().layout == WeightLayout::kOutIn;
}

kernels::FusedLinear Linear::fused_parts(const Context& ctx, const Normed& x) const {
  kernels::FusedLinear parts{.constant_weight = true};
  if (x.norm != nullptr) {
    parts.norm = x.norm->weight().value_slice(x.lo, x.hi);
    parts.eps = x.norm->eps();
  }
  if (bias_ != nullptr) parts.bias = bias_->value_slice(ctx.lo, ctx.hi);
  return parts;
}

Var Linear::fused(Context& ctx, const Normed& x, bool swiglu, const Var* residual, const Tensor& out) const {
  kernels::FusedLinear parts = fused_parts(ctx, x);
  parts.swiglu = swiglu;
  const std::int64_t g = x.x.value.dim(0);
  if (residual != nullptr) parts.residual = ops::flat(residual->value, g);
  Shape shape = x.x.value.shape();
  shape.set(shape.rank() - 1, swiglu ? outputs_ / 2 : outputs_);
  const Tensor y = out.defined() ? out.reshape(shape) : Tensor::empty(ctx.stream, shape, x.x.value.dtype());
  kernels::linear_fused(ctx.stream, ops::flat(x.x.value, g), weight_->value_slice(ctx.lo, ctx.hi),
                        weight_->spec().layout, parts, ops::flat(y, g));
  return y;
}

Var Linear::apply(Context& ctx, const WaveCells& cells, const Var& x, const Var* residual, const Tensor& out) const {
  const Var y = ops::linear(ctx, x, *weight_,
                            {.bias = bias_, .residual = residual, .layout = weight_->spec().layout, .out = out});
  return adapter_ ? adapter_->apply(ctx, cells, x, y) : y;
}

Var Linear::operator()(Context& ctx, const WaveCells& cells, const Normed& x) const {
  return fuses(ctx) ? fused(ctx, x, false, nullptr, {}) : apply(ctx, cells, x.applied(ctx), nullptr, {});
}

Var Linear::outputs_of(Context& ctx, const WaveCells& cells, const Var& x, std::int64_t first, std::int64_t count,
                       bool wide) const {
  const Var y = ops::linear(
      ctx, x, *weight_,
      {.bias = bias_, .layout = weight_->spec().layout, .wide_output = wide, .first = first, .outputs = count});
  return adapter_ ? adapter_->apply(ctx, cells, x, y, first) : y;
}

Linear::Apart Linear::apart(Context& ctx, const WaveCells& cells, const Normed& x, std::int64_t wide) const {
  const std::int64_t main = outputs_ - wide;
  if (steps(ctx, x.x.value)) {
    kernels::FusedLinear parts = fused_parts(ctx, x);
    Shape shape = x.x.value.shape(), last = shape;
    shape.set(shape.rank() - 1, main);
    last.set(shape.rank() - 1, wide);
    const DType dtype = x.x.value.dtype();
    const Tensor y = Tensor::empty(ctx.stream, shape, dtype), apart = Tensor::empty(ctx.stream, last, wt::wide(dtype));
    parts.wide = ops::flat(apart, 1);
    kernels::linear_fused(ctx.stream, ops::flat(x.x.value, 1), weight_->value_slice(ctx.lo, ctx.hi),
                          weight_->spec().layout, parts, ops::flat(y, 1));
    return {y, apart};
  }
  const Var in = x.applied(ctx);
  return {outputs_of(ctx, cells, in, 0, main, false), outputs_of(ctx, cells, in, main, wide, true)};
}

Var Linear::swiglu(Context& ctx, const WaveCells& cells, const Normed& x) const {
  return fuses(ctx) ? fused(ctx, x, true, nullptr, {}) : ops::swiglu(ctx, (*this)(ctx, cells, x));
}

bool Linear::steps(const Context& ctx, const Tensor& x) const {
  return fuses(ctx) && x.dim(0) == 1 && x.numel() / x.shape()[-1] <= kFewRows;
}

Tensor Linear::back_gated(Context& ctx, const Tensor& x, const Tensor& gate, const Tensor& norm, double eps,
                          const Tensor& residual, const Tensor& out) const {
  kernels::FusedLinear parts = fused_parts(ctx, Var(x));
  parts.gate = ops::flat(gate, 1);
  parts.norm = norm;
  parts.eps = eps;
  if (residual.defined()) parts.residual = ops::flat(residual, 1);
  Shape shape = x.shape();
  shape.set(shape.rank() - 1, outputs_);
  const Tensor y = out.defined() ? out.reshape(shape) : Tensor::empty(ctx.stream, shape, x.dtype());
  kernels::linear_fused(ctx.stream, ops::flat(x, 1), weight_->value_slice(ctx.lo, ctx.hi), weight_->spec().layout,
                        parts, ops::flat(y, 1));
  return y;
}

Var Linear::back(Context& ctx, const WaveCells& cells, const Var& x, const Var* residual, int site,
                 const Tensor& out) const {
  if (dropout_ == 0 || !ctx.training) {
    return fuses(ctx) ? fused(ctx, x, false, residual, out) : apply(ctx, cells, x, residual, out);
  }
  kernels::DropoutKey key = cells.dropout;
  key.site = site;
  const Var dropped = ops::dropout(ctx, apply(ctx, cells, x, nullptr, {}), cells.number, dropout_, key);
  if (residual != nullptr) return ops::add(ctx, dropped, *residual, out);
  if (!out.defined()) return dropped;
  out.copy_from(ctx.stream, dropped.value.reshape(out.shape()));
  return {out, dropped.id};
}

double Linear::flops(std::int64_t rows) const {
  const std::int64_t weights = inputs_ * outputs_ + (adapter_ ? adapter_->num_weights() : 0);
  return 2.0 * static_cast<double>(rows) * static_cast<double>(weights);
}

}  // namespace wt
