#include "autograd/ops/low_rank.h"

#include "autograd/ops/flat.h"
#include "kernels/linear.h"
#include "kernels/rows.h"

namespace wt::ops {
namespace {

using kernels::WeightLayout;

struct Saved {
  Tensor x, u;  // u = scale · x aᵀ, (G, R, Pr)
  LowRank adapter;
  std::int64_t first;
  int lo, hi, x_id, residual_id, y_id;
  std::vector<Tensor> tensors() const { return {x, u}; }
};

// Of the blocks for the first g layers. They do not depend on which layers these are.
Tensor blocks_of(const LowRank& adapter, std::int64_t g) {
  return adapter.blocks.slice(0, g).reshape({g * adapter.blocks.dim(1)});
}

// b as one matrix (G, O, Pr), zero outside each part's block.
Tensor spread(const Stream& stream, const LowRank& adapter, int lo, int hi, std::int64_t outputs) {
  const Tensor b = adapter.b->value_slice(lo, hi);
  if (!adapter.blocks.defined()) return b;
  const std::int64_t g = b.dim(0), rank = b.dim(2), width = adapter.a->value().dim(1);
  const Tensor matrix = Tensor::zeros(stream, {g, outputs, width}, b.dtype());
  kernels::put_rows(stream, b.reshape({g * b.dim(1), rank}), blocks_of(adapter, g),
                    matrix.reshape({g * outputs * (width / rank), rank}));
  return matrix;
}

// db += dyᵀ u, of each part the block that is its own.
void add_to_b(const Stream& stream, const Saved& s, const Tensor& dy) {
  const Tensor db = s.adapter.b->grad_slice(s.lo, s.hi);
  if (!s.adapter.blocks.defined()) {
    kernels::linear_backward_weight(stream, dy, s.u, WeightLayout::kOutIn, db, s.first);
    return;
  }
  const std::int64_t g = db.dim(0), rank = db.dim(2), width = s.u.dim(2), outputs = dy.dim(2);
  const Tensor matrix = Tensor::zeros(stream, {g, outputs, width}, db.dtype());
  kernels::linear_backward_weight(stream, dy, s.u, WeightLayout::kOutIn, matrix);
  const Tensor rows = Tensor::empty(stream, {g * db.dim(1), rank}, db.dtype());
  kernels::gather_rows(stream, matrix.reshape({g * outputs * (width / rank), rank}), blocks_of(s.adapter, g), rows);
  kernels::add(stream, rows, db.reshape(rows.shape()));
}

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor given = pass.take(s.y_id);
  if (!given.defined()) return;
  const Stream& stream = pass.stream();
  const std::int64_t g = s.u.dim(0);
  const Tensor dy = flat(narrowed(stream, given, s.x.dtype()), g);
  if (s.adapter.b->trainable) add_to_b(stream, s, dy);
  if (s.adapter.a->trainable || s.x_id >= 0) {
    const Tensor du = Tensor::empty(stream, s.u.shape(), s.u.dtype());
    kernels::linear_backward_input(stream, dy, spread(stream, s.adapter, s.lo, s.hi, dy.dim(2)), WeightLayout::kOutIn,
                                   du, GradMode::kOverwrite, s.first);
    kernels::scale(stream, s.adapter.scale, du);
    if (s.adapter.a->trainable) {
      kernels::linear_backward_weight(stream, du, flat(s.x, g), WeightLayout::kOutIn,
                                      s.adapter.a->grad_slice(s.lo, s.hi));
    }
    const auto [dx, mode] = pass.slot(s.x_id, s.x);
    if (mode != GradMode::kSkip) {
      kernels::linear_backward_input(stream, du, s.adapter.a->value_slice(s.lo, s.hi), WeightLayout::kOutIn,
                                     flat(dx, g), mode);
    }
  }
  pass.pass(s.residual_id, given);  // last: it becomes the gradient of y before and may be added to
}

}  // namespace

Var low_rank(Context& ctx, const Var& x, const Var& y, const LowRank& adapter, std::int64_t first) {
  const OpScope scope("low_rank");
  const Tensor a = adapter.a->value_slice(ctx.lo, ctx.hi);
  const std::int64_t g = x.value.dim(0), width = a.dim(1), rank = adapter.b->value().dim(2);
  WT_CHECK(width % rank == 0 && (adapter.blocks.defined() || width == rank), "low_rank: a is ", a, ", b ",
           adapter.b->value());
  WT_CHECK(first == kernels::kAllOutputs || !adapter.blocks.defined(), "low_rank: outputs of an adapter of parts");
  const Tensor in = flat(x.value, g), out = flat(y.value, g);
  const Tensor u = Tensor::empty(ctx.stream, {g, in.dim(1), width}, in.dtype());
  kernels::linear_forward(ctx.stream, in, a, WeightLayout::kOutIn, {}, {}, u);
  kernels::scale(ctx.stream, adapter.scale, u);
  kernels::linear_forward(ctx.stream, u, spread(ctx.stream, adapter, ctx.lo, ctx.hi, out.dim(2)), WeightLayout::kOutIn,
                          {}, out, out, false, first);
  if (!ctx.recording()) return y.value;
  const Var result = ctx.record->output(y.value, true);
  ctx.record->record("low_rank", Saved{x.value, u, adapter, first, ctx.lo, ctx.hi, x.id, y.id, result.id}, backward);
  return result;
}

}  // namespace wt::ops
