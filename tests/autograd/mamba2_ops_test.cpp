// Gradient checks of Mamba-2's core, whole and kernel by kernel. Shapes: G layers, B samples, T rows, H heads of width
// P, N state size, R groups, I = H P, E = I + 2 R N, K rows that a channel of the convolution sees, Q rows of a chunk.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "autograd/ops/mamba2.h"
#include "kernels/causal_conv.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

using kernels::Cells;
using kernels::GatedNorm;
using kernels::SsdShape;

constexpr DType kF64 = DType::kF64;
const Stream kStream;

Cells cells_of(const Shape& shape, const std::vector<std::int32_t>& rows) {
  std::vector<std::uint8_t> flags;
  for (const std::int32_t used : rows) flags.push_back(used > 0 ? kernels::kCellActive : 0);
  return {Tensor::from<std::uint8_t>(shape, flags), Tensor::from<std::int32_t>(shape, rows)};
}

// NaN in columns [begin, end) of the rows of x_GBTW that no cell uses.
void spoil_padding(const Cells& cells, const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t t = x.dim(2), w = x.dim(3);
  for (std::int64_t row = 0; row < x.numel() / w; ++row) {
    if (row % t < cells.rows.data<std::int32_t>()[row / t]) continue;
    std::fill_n(x.data<double>() + row * w + begin, end - begin, std::numeric_limits<double>::quiet_NaN());
  }
}
Tensor spoiled(const Cells& cells, const Tensor& x) {
  spoil_padding(cells, x, 0, x.dim(3));
  return x;
}

// The parameters of two layers' cores. Heads that forget slowly, at once, and (with small steps) heads of large A that
// do not: the gradient of their decays is large.
struct Core {
  Core(std::int64_t layers, const SsdShape& given, std::int64_t taps)
      : shape(given),
        conv(random_parameter(layers, {shape.columns(), 1, taps}, 11, 0.5)),
        conv_bias(random_parameter(layers, {shape.columns()}, 12, 0.5)),
        dt_bias(random_parameter(layers, {shape.heads}, 13)),
        a_log(random_parameter(layers, {shape.heads}, 14)),
        d(random_parameter(layers, {shape.heads}, 15)),
        norm(random_parameter(layers, {shape.inner()}, 16)) {}

  void set_decays(const std::vector<double>& a, const std::vector<double>& step) {
    for (std::int64_t i = 0; i < a_log.value().numel(); ++i) {
      const auto at = static_cast<std::size_t>(i) % a.size();
      a_log.value().data<double>()[i] = std::log(-a[at]);
      dt_bias.value().data<double>()[i] = std::log(std::expm1(step[at]));
    }
  }
  ops::Mamba2Weights weights(bool with_bias) {
    return {&conv, with_bias ? &conv_bias : nullptr, &dt_bias, &a_log, &d, &norm};
  }
  std::vector<Parameter*> parameters(bool with_bias) {
    std::vector<Parameter*> all{&conv, &dt_bias, &a_log, &d, &norm};
    if (with_bias) all.push_back(&conv_bias);
    return all;
  }

  SsdShape shape;
  Parameter conv, conv_bias, dt_bias, a_log, d, norm;
};

// What a check varies.
struct Case {
  SsdShape shape;
  std::int64_t t = 5, taps = 4;
  GatedNorm norm{};
  bool with_bias = true;
  std::vector<std::int32_t> rows{5, 3, 0};  // of one layer's three samples
};

// The op over zxbc, dt, tail and s of one layer of two: outputs o, and the next tail and s.
Gradcheck check_of(Core& core, const Case& c, const Cells& cells) {
  const SsdShape& shape = c.shape;
  const std::int64_t b = static_cast<std::int64_t>(c.rows.size());
  Gradcheck check;
  const Tensor zxbc = random_tensor({1, b, c.t, shape.inner() + shape.columns()}, 1);
  spoil_padding(cells, zxbc, shape.inner(), zxbc.dim(3));
  check.inputs = {{zxbc, Contribution::kRefuses},
                  {spoiled(cells, random_tensor({1, b, c.t, shape.heads}, 2)), Contribution::kRefuses},
                  {random_tensor({1, b, c.taps - 1, shape.columns()}, 3)},
                  {random_tensor({1, b, shape.heads, shape.width, shape.state}, 4)}};
  check.parameters = core.parameters(c.with_bias);
  check.op = [&core, c, cells](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
    const ops::Mamba2Output out = ops::mamba2(ctx, x[0], x[1], {x[2], x[3]}, core.weights(c.with_bias), c.shape, c.norm,
                                              cells, Tensor::empty(ctx.stream, x[2].value.shape(), kF64),
                                              Tensor::empty(ctx.stream, x[3].value.shape(), kF64));
    return {out.o, out.state.tail, out.state.s};
  };
  check.lo = 1;
  check.hi = 2;
  return check;
}

void expect_gradients(const Case& c, const std::vector<double>& a = {}, const std::vector<double>& step = {}) {
  const Cells cells = cells_of({1, static_cast<std::int64_t>(c.rows.size())}, c.rows);
  Core core(2, c.shape, c.taps);
  if (!a.empty()) core.set_decays(a, step);
  EXPECT_GRADIENTS(check_of(core, c, cells));
}

TEST(Mamba2OpGradients, GroupsOfEverySize) {
  for (const std::int64_t groups : {1, 2, 4}) {
    const SsdShape shape{.heads = 4, .width = 2, .state = 3, .groups = groups, .chunk = 2};
    expect_gradients({.shape = shape, .norm = {.groups = groups, .eps = 1e-2}});
  }
}

TEST(Mamba2OpGradients, ChunksOfEveryLength) {
  for (const std::int64_t chunk : {1, 3, 5, 64}) {
    const SsdShape shape{.heads = 2, .width = 3, .state = 2, .groups = 1, .chunk = chunk};
    expect_gradients({.shape = shape, .norm = {.eps = 1e-2}});
  }
}

TEST(Mamba2OpGradients, NormFirstAndNoBias) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 2, .chunk = 3};
  expect_gradients({.shape = shape, .norm = {.groups = 2, .eps = 1e-2, .norm_first = true}, .with_bias = false});
}

TEST(Mamba2OpGradients, TextsShorterThanTheConvolution) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 1, .chunk = 4};
  expect_gradients({.shape = shape, .t = 2, .taps = 4, .norm = {.eps = 1e-2}, .rows = {2, 1, 0}});
  expect_gradients({.shape = shape, .t = 1, .taps = 4, .norm = {.eps = 1e-2}, .rows = {1, 0}});
  expect_gradients({.shape = shape, .t = 3, .taps = 2, .norm = {.eps = 1e-2}, .rows = {3, 2, 0}});
}

TEST(Mamba2OpGradients, DecaysOfEveryKind) {
  const SsdShape shape{.heads = 5, .width = 2, .state = 2, .groups = 1, .chunk = 4};
  expect_gradients({.shape = shape, .norm = {.eps = 1e-2}}, {-0.01, -200, -200, -1000, -1000},
                   {0.7, 0.7, 0.005, 0.7, 0.001});
}

TEST(Mamba2OpGradients, LimitsThatBite) {
  const SsdShape shape{.heads = 4, .width = 2, .state = 2, .groups = 1, .chunk = 3, .least = 0.4, .most = 0.9};
  const Case c{.shape = shape, .norm = {.eps = 1e-2}, .rows = {5, 4}};
  expect_gradients(c);
  // Some steps are below, some between and some above.
  const Cells cells = cells_of({1, 2}, c.rows);
  Core core(2, shape, c.taps);
  int below = 0, above = 0, between = 0;
  const Tensor dt = check_of(core, c, cells).inputs[1].value;
  for (std::int64_t i = 0; i < dt.numel(); ++i) {
    const double step = std::log1p(std::exp(dt.data<double>()[i] + core.dt_bias.value().data<double>()[4 + i % 4]));
    ++(step < shape.least ? below : step > shape.most ? above : between);
  }
  EXPECT_GT(below, 3);
  EXPECT_GT(above, 3);
  EXPECT_GT(between, 3);
}

TEST(Mamba2OpGradients, OnlyOneOutputIsUsed) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 1, .chunk = 2};
  const Case c{.shape = shape, .norm = {.eps = 1e-2}};
  const Cells cells = cells_of({1, 3}, c.rows);
  Core core(2, shape, c.taps);
  const Gradcheck check = check_of(core, c, cells);
  for (const std::size_t used : {0, 1, 2}) {
    Gradcheck one = check;
    one.op = [&check, used](Context& ctx, const std::vector<Var>& x) {
      return std::vector<Var>{check.op(ctx, x)[used]};
    };
    EXPECT_GRADIENTS(one);
  }
}

TEST(Mamba2OpGradients, OneSegmentAfterAnother) {
  // The second segment's state is the first's: its gradient goes through both, in one tensor.
  const SsdShape shape{.heads = 3, .width = 2, .state = 2, .groups = 1, .chunk = 2};
  const Case c{.shape = shape, .t = 3, .norm = {.eps = 1e-2}, .rows = {3, 3, 2}};
  const Cells first = cells_of({1, 3}, c.rows), second = cells_of({1, 3}, {2, 0, 3});
  Core core(2, shape, c.taps);
  Gradcheck check = check_of(core, c, first);
  const Gradcheck next = check_of(core, c, second);
  const auto op = check.op, next_op = next.op;
  check.inputs.push_back(next.inputs[0]);
  check.inputs.push_back(next.inputs[1]);
  check.op = [op, next_op](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
    const std::vector<Var> out = op(ctx, {x[0], x[1], x[2], x[3]}), after = next_op(ctx, {x[4], x[5], out[1], out[2]});
    return {out[0], after[0], after[1], after[2]};
  };
  EXPECT_GRADIENTS(check);
}

TEST(Mamba2Ops, WhatIsNotUsedGetsNoGradient) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 1, .chunk = 2};
  const Case c{.shape = shape, .norm = {.eps = 1e-2}};
  const Cells cells = cells_of({1, 3}, c.rows);
  Core core(2, shape, c.taps);
  const Gradcheck check = check_of(core, c, cells);
  WaveRecord record;
  Context ctx{kStream, &record, false, 1, 2};
  std::vector<Var> x;
  for (const GradcheckInput& input : check.inputs) x.push_back(record.leaf(input.value));
  const std::vector<Var> out = check.op(ctx, x);
  EXPECT_EQ(record.num_ops(), 1u);
  record.backward(kStream);  // of nothing
  for (const Var& input : x) EXPECT_FALSE(record.grad(input).defined());

  // Padding: no gradient at all, not even rounding, and an inactive cell hands its state's gradient on as it came.
  WaveRecord again;
  ctx.record = &again;
  x.clear();
  for (const GradcheckInput& input : check.inputs) x.push_back(again.leaf(input.value));
  const std::vector<Var> outs = check.op(ctx, x);
  const Tensor tail = random_tensor(outs[1].value.shape(), 5), s = random_tensor(outs[2].value.shape(), 6);
  again.set_grad(outs[0], random_tensor(outs[0].value.shape(), 7));
  again.set_grad(outs[1], tail.clone(kStream));
  again.set_grad(outs[2], s.clone(kStream));
  again.backward(kStream);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
    const Tensor grad = again.grad(x[i]);
    const std::int64_t width = grad.dim(3);
    for (std::int64_t row = 0; row < 3 * c.t; ++row) {
      if (row % c.t < c.rows[static_cast<std::size_t>(row / c.t)]) continue;
      for (std::int64_t j = 0; j < width; ++j) EXPECT_EQ(grad.data<double>()[row * width + j], 0);
    }
  }
  const auto inactive = [](const Tensor& t) { return t.select(0).select(2).clone(kStream).to_vector<double>(); };
  EXPECT_EQ(inactive(again.grad(x[2])), inactive(tail));
  EXPECT_EQ(inactive(again.grad(x[3])), inactive(s));
}

TEST(Mamba2Ops, TheStateMayBeReplacedInPlace) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 1, .chunk = 2};
  for (const std::int64_t t : {1, 2, 5}) {
    const std::int32_t rows = static_cast<std::int32_t>(t);
    const Case c{.shape = shape, .t = t, .rows = {rows, rows - 1, 0}};
    const Cells cells = cells_of({1, 3}, c.rows);
    Core core(2, shape, c.taps);
    const Gradcheck check = check_of(core, c, cells);
    Context ctx{kStream, nullptr, false, 1, 2};
    std::vector<Var> x;
    for (const GradcheckInput& input : check.inputs) x.emplace_back(input.value.clone(kStream));
    const std::vector<Var> apart = check.op(ctx, x);
    const ops::Mamba2Output in_place =
        ops::mamba2(ctx, x[0], x[1], {x[2], x[3]}, core.weights(true), shape, c.norm, cells, x[2].value, x[3].value);
    EXPECT_EQ(in_place.o.value.to_vector<double>(), apart[0].value.to_vector<double>());
    EXPECT_EQ(x[2].value.to_vector<double>(), apart[1].value.to_vector<double>());
    EXPECT_EQ(x[3].value.to_vector<double>(), apart[2].value.to_vector<double>());
  }
}

TEST(Mamba2Ops, ColumnsThatDoNotFitAreRefused) {
  const SsdShape shape{.heads = 2, .width = 2, .state = 3, .groups = 1, .chunk = 2};
  Core core(1, shape, 4);
  Context ctx;
  const Tensor tail = random_tensor({1, 1, 3, 10}, 1), s = random_tensor({1, 1, 2, 2, 3}, 2);
  EXPECT_ERROR(ops::mamba2(ctx, random_tensor({1, 1, 5, 13}, 3), random_tensor({1, 1, 5, 2}, 4), {tail, s},
                           core.weights(true), shape, {}, cells_of({1, 1}, {5}), tail, s),
               Error, "mamba2: zxbc is f64[1,1,5,13], expected rows of 14");
}

// The kernels by themselves, as ops whose backward is theirs and whose gradients arrive with NaN where they are not
// read.
struct KernelSaved {
  std::function<void(BackwardPass&)> run;
  std::vector<Tensor> tensors() const { return {}; }
};
void kernel_backward(BackwardPass& pass, const KernelSaved& s) {
  s.run(pass);
}

TEST(Mamba2KernelGradients, CausalConv) {
  constexpr std::int64_t kB = 3, kE = 3, kWidth = 6, kColumn = 2;
  for (const auto& [t, taps] : {std::pair<std::int64_t, std::int64_t>{5, 4}, {2, 4}, {4, 2}}) {
    const std::int32_t rows = static_cast<std::int32_t>(t);
    const Cells cells = cells_of({1, kB}, {rows, rows - 1, 0});
    Parameter w = random_parameter(1, {kE, taps}, 1), bias = random_parameter(1, {kE}, 2);
    EXPECT_GRADIENTS(
        {.inputs = {{spoiled(cells, random_tensor({1, kB, t, kWidth}, 3))}, {random_tensor({1, kB, taps - 1, kE}, 4)}},
         .parameters = {&w, &bias},
         .op = [&, t = t](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
           const Tensor y = Tensor::empty(kStream, {1, kB, t, kE}, kF64),
                        tail = Tensor::empty(kStream, x[1].value.shape(), kF64);
           kernels::causal_conv_forward(kStream, x[0].value, kColumn, w.value(), bias.value(), x[1].value, cells, y,
                                        tail);
           if (!ctx.recording()) return {y, tail};
           const Var out = ctx.record->output(y, true), next = ctx.record->output(tail, true);
           const auto run = [&, x, out, next](BackwardPass& pass) {
             const Tensor dy = spoiled(cells, pass.take(out.id)), dtail = pass.take(next.id);
             const Tensor dx = Tensor::zeros(kStream, x[0].value.shape(), kF64);
             kernels::causal_conv_backward(kStream, dy, x[0].value, kColumn, w.value(), bias.value(), x[1].value, cells,
                                           dtail, dx, w.trainable ? w.grad() : Tensor{},
                                           bias.trainable ? bias.grad() : Tensor{}, dtail);
             pass.pass(x[0].id, dx);
             pass.pass(x[1].id, dtail);
           };
           ctx.record->record("causal_conv", KernelSaved{run}, kernel_backward);
           return {out, next};
         }});
  }
}

TEST(Mamba2KernelGradients, Ssd) {
  constexpr std::int64_t kB = 3, kT = 5, kH = 4;
  const Cells cells = cells_of({1, kB}, {5, 4, 0});
  Parameter a_log = random_parameter(1, {kH}, 1), d = random_parameter(1, {kH}, 2), bias = random_parameter(1, {kH}, 3);
  for (const std::int64_t chunk : {1, 3, 8}) {
    const SsdShape shape{.heads = kH, .width = 3, .state = 2, .groups = 2, .chunk = chunk};
    EXPECT_GRADIENTS({.inputs = {{spoiled(cells, random_tensor({1, kB, kT, shape.columns()}, 4))},
                                 {spoiled(cells, random_tensor({1, kB, kT, kH}, 5))},
                                 {random_tensor({1, kB, kH, shape.width, shape.state}, 6)}},
                      .parameters = {&a_log, &d, &bias},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const kernels::SsdWeights weights{a_log.value(), d.value(), bias.value()};
                        const Tensor y = Tensor::empty(kStream, {1, kB, kT, shape.inner()}, kF64),
                                     s = Tensor::empty(kStream, x[2].value.shape(), kF64);
                        kernels::ssd_forward(kStream, x[0].value, x[1].value, weights, shape, x[2].value, cells, y, s);
                        if (!ctx.recording()) return {y, s};
                        const Var out = ctx.record->output(y, true), next = ctx.record->output(s, true);
                        const auto run = [&, x, out, next, weights](BackwardPass& pass) {
                          const Tensor dy = spoiled(cells, pass.take(out.id)), ds = pass.take(next.id);
                          const Tensor dxbc = Tensor::empty(kStream, x[0].value.shape(), kF64),
                                       ddt = Tensor::empty(kStream, x[1].value.shape(), kF64);
                          const auto grad = [](const Parameter& p) { return p.trainable ? p.grad() : Tensor{}; };
                          kernels::ssd_backward(kStream, dy, x[0].value, x[1].value, weights, shape, x[2].value, cells,
                                                ds, dxbc, ddt, {grad(a_log), grad(d), grad(bias)}, ds);
                          pass.pass(x[0].id, dxbc);
                          pass.pass(x[1].id, ddt);
                          pass.pass(x[2].id, ds);
                        };
                        ctx.record->record("ssd", KernelSaved{run}, kernel_backward);
                        return {out, next};
                      }});
  }
}

TEST(Mamba2KernelGradients, GatedNorm) {
  // More rows than a piece of the weight gradient's sum has.
  constexpr std::int64_t kT = 300, kI = 4, kWidth = 6;
  Parameter w = random_parameter(1, {kI}, 1);
  for (const bool norm_first : {false, true}) {
    for (const std::int64_t groups : {1, 2}) {
      const GatedNorm norm{.groups = groups, .eps = 1e-2, .norm_first = norm_first};
      EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 1, kT, kI}, 2)}, {random_tensor({1, 1, kT, kWidth}, 3)}},
                        .parameters = {&w},
                        .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                          const Tensor o = Tensor::empty(kStream, x[0].value.shape(), kF64),
                                       rstd = Tensor::empty(kStream, {1, 1, kT, groups}, kF64);
                          kernels::gated_norm_forward(kStream, x[0].value, x[1].value, w.value(), norm, o, rstd);
                          if (!ctx.recording()) return {o};
                          const Var out = ctx.record->output(o, true);
                          const auto run = [&, x, out, rstd, norm](BackwardPass& pass) {
                            const Tensor dout = pass.take(out.id),
                                         dz = Tensor::zeros(kStream, x[1].value.shape(), kF64);
                            kernels::gated_norm_backward(kStream, dout, x[0].value, x[1].value, w.value(), rstd, norm,
                                                         dout, dz, w.trainable ? w.grad() : Tensor{});
                            pass.pass(x[0].id, dout);
                            pass.pass(x[1].id, dz);
                          };
                          ctx.record->record("gated_norm", KernelSaved{run}, kernel_backward);
                          return {out};
                        }});
    }
  }
}

}  // namespace
}  // namespace wt
