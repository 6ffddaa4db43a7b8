// Gradient checks of the norms in another order of layers, and of the sum with a norm behind it.
#include <gtest/gtest.h>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/add_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

constexpr double kEps = 1e-1;
const Stream kStream;

// Layer g of three lies at place 2, 0, 1. A permutation that is its own inverse would hide one taken the wrong way.
Tensor turned() {
  return Tensor::from<std::int32_t>({3}, {2, 0, 1});
}

// The same layers one by one, by the norms in layer order: what orders stand for.
Var layer_of(const Var& x, std::int64_t g) {
  return Var(x.value.slice(g, g + 1));
}
void put(const Tensor& into, std::int64_t place, const Var& value) {
  into.slice(place, place + 1).copy_from(Stream{}, value.value);
}

TEST(NormGradients, RmsNormInAnotherOrder) {
  for (const std::int64_t rows : {1, 300}) {  // 300: parameter gradients of several pieces
    Parameter weight = random_parameter(5, {3}, 2);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({3, 1, rows, 3}, 1)}},
                      .parameters = {&weight},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::rms_norm(ctx, x[0], weight, kEps, turned())};
                      },
                      .reference = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const Tensor y = Tensor::empty(ctx.stream, x[0].value.shape(), DType::kF64);
                        for (int g = 0; g < 3; ++g) {
                          Context one{.stream = kStream, .lo = 1 + g, .hi = 2 + g};
                          put(y, turned().data<std::int32_t>()[g], ops::rms_norm(one, layer_of(x[0], g), weight, kEps));
                        }
                        return {y};
                      },
                      .lo = 1,
                      .hi = 4});
  }
}

TEST(NormGradients, LayerNormInAnotherOrder) {
  for (const std::int64_t rows : {1, 300}) {
    Parameter weight = random_parameter(5, {4}, 2), bias = random_parameter(5, {4}, 3);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({3, 1, rows, 4}, 1)}},
                      .parameters = {&weight, &bias},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::layer_norm(ctx, x[0], weight, bias, kEps, turned())};
                      },
                      .reference = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const Tensor y = Tensor::empty(ctx.stream, x[0].value.shape(), DType::kF64);
                        for (int g = 0; g < 3; ++g) {
                          Context one{.stream = kStream, .lo = 1 + g, .hi = 2 + g};
                          put(y, turned().data<std::int32_t>()[g],
                              ops::layer_norm(one, layer_of(x[0], g), weight, bias, kEps));
                        }
                        return {y};
                      },
                      .lo = 1,
                      .hi = 4});
  }
}

// Which norm, which order, and which outputs something is made of.
struct AddNormCase {
  bool layer = false, ordered = false;
  bool sum = true, normed = true;
};

class AddNormGradients : public testing::TestWithParam<AddNormCase> {
 protected:
  Parameter weight_ = random_parameter(5, {4}, 2), bias_ = random_parameter(5, {4}, 3),
            matrix_ = random_parameter(5, {4, 4}, 4);
  const Tensor x_ = random_tensor({3, 1, 3, 4}, 5), delta_ = random_tensor({3, 1, 3, 4}, 6);
  const Tensor order_ = GetParam().ordered ? turned() : Tensor{};

  std::vector<Parameter*> parameters() {
    if (GetParam().layer) return {&weight_, &bias_, &matrix_};
    return {&weight_, &matrix_};
  }
  ops::AddNorm add_norm(Context& ctx, const Var& x, const Var& delta) {
    return GetParam().layer ? ops::add_norm(ctx, x, delta, order_, weight_, bias_, kEps)
                            : ops::add_norm(ctx, x, delta, order_, weight_, kEps);
  }
  // By plain sums and norms, layer by layer.
  ops::AddNorm composite(const Var& x, const Var& delta) {
    const Tensor h = Tensor::empty(Stream{}, x_.shape(), DType::kF64), normed = h.clone(Stream{});
    for (int g = 0; g < 3; ++g) {
      Context one{.stream = kStream, .lo = 1 + g, .hi = 2 + g};
      const int place = GetParam().ordered ? turned().data<std::int32_t>()[g] : g;
      const Var sum = ops::add(one, layer_of(x, g), layer_of(delta, place));
      put(h, g, sum);
      put(normed, g,
          GetParam().layer ? ops::layer_norm(one, sum, weight_, bias_, kEps) : ops::rms_norm(one, sum, weight_, kEps));
    }
    return {h, normed};
  }
  std::vector<Var> used(const ops::AddNorm& both) const {
    std::vector<Var> outputs;
    if (GetParam().sum) outputs.push_back(both.h);
    if (GetParam().normed) outputs.push_back(both.normed);
    return outputs;
  }
};

TEST_P(AddNormGradients, MatchDifferences) {
  EXPECT_GRADIENTS({.inputs = {{x_}, {delta_}},
                    .parameters = parameters(),
                    .op = [&](Context& ctx, const std::vector<Var>& in) { return used(add_norm(ctx, in[0], in[1])); },
                    .reference = [&](Context&, const std::vector<Var>& in) { return used(composite(in[0], in[1])); },
                    .lo = 1,
                    .hi = 4});
}

TEST_P(AddNormGradients, WithFurtherConsumers) {
  // Of x before and behind the sum, of delta, and of both outputs: contributions of every kind into every slot.
  EXPECT_GRADIENTS({.inputs = {{x_}, {delta_}},
                    .parameters = parameters(),
                    .op = [&](Context& ctx, const std::vector<Var>& in) -> std::vector<Var> {
                      const Var& x = in[0];
                      const Var delta = ops::linear(ctx, in[1], matrix_);
                      const Var before = ops::rms_norm(ctx, x, weight_, kEps);
                      const auto [h, normed] = add_norm(ctx, x, delta);
                      const Var behind = ops::linear(ctx, x, matrix_, {.residual = &delta});
                      const Var y = ops::linear(ctx, normed, matrix_, {.residual = &h});
                      return {ops::add(ctx, ops::add(ctx, before, behind), ops::add(ctx, y, normed)),
                              ops::rms_norm(ctx, h, weight_, kEps)};
                    },
                    .lo = 1,
                    .hi = 4});
}

TEST_P(AddNormGradients, BehindDropout) {
  // Dropout's backward works in place on the gradient that it takes, which must not be x's.
  const Tensor cell = Tensor::from<std::int64_t>({3, 1}, {3, 8, 1});
  EXPECT_GRADIENTS({.inputs = {{x_}, {delta_}},
                    .parameters = parameters(),
                    .op = [&](Context& ctx, const std::vector<Var>& in) -> std::vector<Var> {
                      const Var mixed = ops::linear(ctx, ops::rms_norm(ctx, in[0], weight_, kEps), matrix_);
                      const Var delta = ops::dropout(ctx, ops::add(ctx, mixed, in[1]), cell, 0.4, {5, 6, 1});
                      return used(add_norm(ctx, in[0], delta));
                    },
                    .lo = 1,
                    .hi = 4,
                    .training = true});
}

TEST_P(AddNormGradients, OfOneTensorTwice) {
  EXPECT_GRADIENTS({.inputs = {{x_}},
                    .parameters = parameters(),
                    .op = [&](Context& ctx, const std::vector<Var>& in) { return used(add_norm(ctx, in[0], in[0])); },
                    .lo = 1,
                    .hi = 4});
}

INSTANTIATE_TEST_SUITE_P(Ops, AddNormGradients,
                         testing::Values(AddNormCase{}, AddNormCase{.ordered = true}, AddNormCase{.layer = true},
                                         AddNormCase{.layer = true, .ordered = true},
                                         AddNormCase{.ordered = true, .normed = false},
                                         AddNormCase{.ordered = true, .sum = false}, AddNormCase{.sum = false},
                                         AddNormCase{.layer = true, .normed = false}));

}  // namespace
}  // namespace wt
