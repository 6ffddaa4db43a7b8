// Gradient checks of every op but the memory's (memory_ops_test.cpp): tests/support/gradcheck.h says what is checked.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/rows.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

using kernels::WeightLayout;

class LinearGradients : public testing::TestWithParam<std::tuple<int, WeightLayout, bool, bool, bool>> {};

TEST_P(LinearGradients, MatchDifferences) {
  const auto& [g, layout, with_bias, with_residual, with_slot] = GetParam();
  constexpr std::int64_t kIn = 3, kOut = 5;
  // Layers [1, 1 + g) of four: the gradients of the others must stay as they are, which the noise run sees.
  Parameter weight = random_parameter(4, layout == WeightLayout::kOutIn ? Shape{kOut, kIn} : Shape{kIn, kOut}, 2);
  Parameter bias = random_parameter(4, {kOut}, 3);
  Gradcheck check;
  check.lo = 1;
  check.hi = 1 + g;
  check.inputs = {{random_tensor({g, 2, 3, kIn}, 1)}};
  if (with_residual) check.inputs.push_back({random_tensor({g, 2, 3, kOut}, 4)});
  check.parameters = {&weight};
  if (with_bias) check.parameters.push_back(&bias);
  check.op = [&, count = g, order = layout, slot = with_slot, add_bias = with_bias](Context& ctx,
                                                                                    const std::vector<Var>& x) {
    ops::LinearOptions options{.bias = add_bias ? &bias : nullptr, .layout = order};
    if (x.size() > 1) options.residual = &x[1];
    const Tensor buffer = Tensor::empty(ctx.stream, {count + 1, 2, 3, kOut}, DType::kF64);
    if (slot) options.out = buffer.slice(1, count + 1);
    const Var y = ops::linear(ctx, x[0], weight, options);
    WT_CHECK(!slot || y.value.raw() == options.out.raw(), "the output is not where it was asked for");
    return std::vector<Var>{y};
  };
  EXPECT_GRADIENTS(check);
}

INSTANTIATE_TEST_SUITE_P(Ops, LinearGradients,
                         testing::Combine(testing::Values(1, 2, 3),
                                          testing::Values(WeightLayout::kOutIn, WeightLayout::kInOut), testing::Bool(),
                                          testing::Bool(), testing::Bool()));

TEST(OpGradients, LinearOfTheWholeModel) {
  Parameter weight = random_parameter(0, {7, 4}, 2);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 5, 4}, 1)}},
                    .parameters = {&weight},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::linear(ctx, x[0], weight)};
                    },
                    .lo = 2,
                    .hi = 3});
}

TEST(OpGradients, LinearOfSomeOutputs) {
  for (const auto& [lo, hi] : {std::pair(1, 3), std::pair(2, 3)}) {
    Parameter weight = random_parameter(3, {7, 4}, 2), bias = random_parameter(3, {7}, 3);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({hi - lo, 2, 5, 4}, 1)}},
                      .parameters = {&weight, &bias},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::linear(ctx, x[0], weight, {.bias = &bias, .first = 0, .outputs = 5}),
                                ops::linear(ctx, x[0], weight, {.bias = &bias, .first = 5, .outputs = 2})};
                      },
                      .lo = lo,
                      .hi = hi});
  }
}

TEST(OpGradients, LinearWithSplitDepth) {
  // More than 2048 rows: the weight's gradient is summed in pieces.
  Parameter weight = random_parameter(1, {1, 2}, 2);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 2100, 2}, 1, 0.1)}},
                    .parameters = {&weight},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::linear(ctx, x[0], weight)};
                    }});
}

TEST(OpGradients, RmsNorm) {
  for (const std::int64_t rows : {1, 7, 300}) {  // 300: parameter gradients of several pieces
    Parameter weight = random_parameter(3, {3}, 2);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 1, rows, 3}, 1)}},
                      .parameters = {&weight},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::rms_norm(ctx, x[0], weight, 1e-2)};
                      },
                      .lo = 1,
                      .hi = 3});
  }
}

TEST(OpGradients, LayerNorm) {
  for (const std::int64_t rows : {1, 7, 300}) {
    Parameter weight = random_parameter(3, {4}, 2), bias = random_parameter(3, {4}, 3);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 1, rows, 4}, 1)}},
                      .parameters = {&weight, &bias},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::layer_norm(ctx, x[0], weight, bias, 1e-1)};
                      },
                      .lo = 1,
                      .hi = 3});
  }
}

// Angles of no special form: rotary's backward must turn back by whatever the table holds.
Tensor angle_table(std::int64_t positions, std::int64_t width) {
  const Tensor table = random_tensor({positions, width}, 9);
  for (std::int64_t p = 0; p < positions; ++p) {
    double* row = table.data<double>() + p * width;
    for (std::int64_t i = 0; i < width / 2; ++i) {
      const double angle = row[i];
      row[i] = std::cos(angle);
      row[i + width / 2] = std::sin(angle);
    }
  }
  return table;
}

TEST(OpGradients, Rotary) {
  const kernels::AttentionHeads heads{2, 1, 4};
  const Tensor table = angle_table(6, 4);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 2, 5, heads.row_width()}, 1), Contribution::kInPlace}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::rotary(ctx, x[0], heads, table)};
                    }});
}

TEST(OpGradients, Attention) {
  struct Case {
    Shape shape;
    kernels::AttentionHeads heads;
  };
  // One row; grouped queries; more rows than a block holds.
  for (const Case& c :
       {Case{{1, 1, 1, 9}, {1, 1, 3}}, Case{{2, 2, 5, 24}, {4, 2, 3}}, Case{{1, 1, 70, 8}, {2, 1, 2}}}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor(c.shape, 1), Contribution::kRefuses}},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::attention(ctx, x[0], c.heads)};
                      }});
  }
}

TEST(OpGradients, SwiGlu) {
  EXPECT_GRADIENTS(
      {.inputs = {{random_tensor({2, 2, 3, 10}, 1, 2), Contribution::kRefuses}},
       .op = [](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> { return {ops::swiglu(ctx, x[0])}; }});
}

TEST(OpGradients, Gelu) {
  EXPECT_GRADIENTS(
      {.inputs = {{random_tensor({2, 2, 3, 5}, 1, 2), Contribution::kRefuses}},
       .op = [](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> { return {ops::gelu(ctx, x[0])}; }});
}

TEST(OpGradients, CrossEntropy) {
  const Tensor target = Tensor::from<std::int32_t>({19}, {0, 6, 3, 3, 1, 2, 5, 4, 0, 6, 6, 6, 1, 2, 3, 4, 5, 0, 2});
  EXPECT_GRADIENTS({.inputs = {{random_tensor({19, 7}, 1, 2), Contribution::kRefuses}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::cross_entropy(ctx, x[0], target).loss};
                    }});
}

TEST(OpGradients, Embedding) {
  using kernels::kPaddingRow;
  using kernels::memory_row;
  Parameter tokens = random_parameter(0, {5, 3}, 1), memory = random_parameter(0, {2, 3}, 2),
            positions = random_parameter(0, {4, 3}, 3);
  // Ids that repeat (4), ids nobody uses (2), padding, memory rows, rows without a position.
  const Tensor rows = Tensor::from<std::int32_t>(
      {2, 5}, {4, 0, 4, memory_row(0), memory_row(1), 4, 1, memory_row(0), memory_row(1), kPaddingRow});
  const Tensor position = Tensor::from<std::int32_t>({2, 5}, {0, 1, 2, 2, 3, 0, 1, 2, 3, -1});
  for (const bool with_positions : {true, false}) {
    Gradcheck check;
    check.parameters = {&tokens, &memory};
    if (with_positions) check.parameters.push_back(&positions);
    check.op = [&](Context& ctx, const std::vector<Var>&) -> std::vector<Var> {
      const Tensor out = Tensor::empty(ctx.stream, {2, 5, 3}, DType::kF64);
      return {ops::embedding(ctx, {&tokens, &memory, with_positions ? &positions : nullptr}, rows, position, out)};
    };
    EXPECT_GRADIENTS(check);
  }
}

TEST(OpGradients, EmbeddingWithoutMemoryRows) {
  Parameter tokens = random_parameter(0, {5, 3}, 1);
  const Tensor rows = Tensor::from<std::int32_t>({1, 4}, {1, 1, 1, 3});
  EXPECT_GRADIENTS({.parameters = {&tokens}, .op = [&](Context& ctx, const std::vector<Var>&) -> std::vector<Var> {
                      return {ops::embedding(ctx, {&tokens, nullptr, nullptr}, rows, {},
                                             Tensor::empty(ctx.stream, {1, 4, 3}, DType::kF64))};
                    }});
}

TEST(OpGradients, TakeRows) {
  const Tensor first = Tensor::from<std::int32_t>({2, 3}, {0, 1, 2, 3, 0, 2});
  EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 3, 5, 2}, 1)}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::take_rows(ctx, x[0], first, 2)};
                    }});
}

TEST(OpGradients, Add) {
  for (const bool slot : {false, true}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 3, 2}, 1)}, {random_tensor({2, 3, 2}, 2)}},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const Tensor out = slot ? Tensor::empty(ctx.stream, {2, 3, 2}, DType::kF64) : Tensor{};
                        return {ops::add(ctx, x[0], x[1], out)};
                      }});
  }
}

TEST(OpGradients, AddOfOneTensorToItself) {
  EXPECT_GRADIENTS({.inputs = {{random_tensor({4}, 1)}}, .op = [](Context& ctx, const std::vector<Var>& x) {
                      return std::vector<Var>{ops::add(ctx, x[0], x[0])};
                    }});
}

TEST(OpGradients, Dropout) {
  const Tensor cell = Tensor::from<std::int64_t>({2, 2}, {3, 8, 1, 0});
  EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 2, 3, 3}, 1)}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::dropout(ctx, x[0], cell, 0.4, {5, 6, 1})};
                    },
                    .training = true});
}

TEST(OpGradients, DropoutIsOffOutsideTrainingAndAtRateZero) {
  const Tensor cell = Tensor::from<std::int64_t>({1, 1}, {0});
  const Var x(random_tensor({1, 1, 4}, 1));
  Context evaluation, training;
  training.training = true;
  EXPECT_EQ(ops::dropout(evaluation, x, cell, 0.4, {}).value.raw(), x.value.raw());
  EXPECT_EQ(ops::dropout(training, x, cell, 0, {}).value.raw(), x.value.raw());
  EXPECT_NE(ops::dropout(training, x, cell, 0.4, {}).value.raw(), x.value.raw());
}

TEST(OpGradients, StopGradient) {
  // f(x) = x + stop(w x): differenced with the stopped part frozen, which is x plus a constant.
  Parameter weight = random_parameter(1, {3, 3}, 2);
  const Tensor x = random_tensor({1, 4, 3}, 1);
  Context plain;
  const Tensor frozen = ops::linear(plain, x, weight).value;
  EXPECT_GRADIENTS({.inputs = {{x}},
                    .op = [&](Context& ctx, const std::vector<Var>& in) -> std::vector<Var> {
                      return {ops::add(ctx, in[0], stop_gradient(ops::linear(ctx, in[0], weight)))};
                    },
                    .reference = [&](Context& ctx, const std::vector<Var>& in) -> std::vector<Var> {
                      return {ops::add(ctx, in[0], frozen)};
                    }});
}

TEST(OpGradients, OneInputManyConsumers) {
  // A residual path, two norms and two linear layers on one tensor: contributions of every kind into one slot.
  Parameter gain = random_parameter(2, {4}, 2), a = random_parameter(2, {4, 4}, 3), b = random_parameter(2, {4, 4}, 4),
            shift = random_parameter(2, {4}, 5);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 1, 3, 4}, 1)}},
                    .parameters = {&gain, &a, &b, &shift},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      const Var left = ops::linear(ctx, ops::rms_norm(ctx, x[0], gain, 1e-2), a, {.residual = &x[0]});
                      const Var right = ops::linear(ctx, ops::layer_norm(ctx, x[0], gain, shift, 1e-1), b);
                      return {ops::add(ctx, left, ops::linear(ctx, right, a, {.residual = &x[0]}))};
                    },
                    .lo = 0,
                    .hi = 2});
}

}  // namespace
}  // namespace wt
