// Adapters: gradients of scale · B A for one part, for some and for all parts of a fused matrix.
#include "autograd/ops/low_rank.h"

#include <gtest/gtest.h>

#include "autograd/ops/linear.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

constexpr std::int64_t kLayers = 4, kIn = 3, kOut = 7, kRank = 2;

// A part of the matrix's outputs.
struct Part {
  std::int64_t begin, end;
};

struct Case {
  std::string name;
  std::vector<Part> parts;
};

// Where each row of b stands, said again here: blocks (L, O, P).
Tensor blocks_of(const std::vector<Part>& parts) {
  const auto count = static_cast<std::int64_t>(parts.size());
  std::vector<std::int32_t> blocks;
  for (std::int64_t l = 0; l < kLayers; ++l) {
    for (std::int64_t p = 0; p < count; ++p) {
      const Part& part = parts[static_cast<std::size_t>(p)];
      for (std::int64_t o = part.begin; o < part.end; ++o) {
        blocks.push_back(static_cast<std::int32_t>((l * kOut + o) * count + p));
      }
    }
  }
  return Tensor::from<std::int32_t>({kLayers, static_cast<std::int64_t>(blocks.size()) / kLayers}, blocks);
}

class LowRankOp : public testing::TestWithParam<Case> {
 protected:
  const std::vector<Part>& parts() const { return GetParam().parts; }
  std::int64_t count() const { return static_cast<std::int64_t>(parts().size()); }
  bool whole() const { return count() == 1 && parts()[0].end - parts()[0].begin == kOut; }
  std::int64_t height() const {
    std::int64_t rows = 0;
    for (const Part& part : parts()) rows += part.end - part.begin;
    return rows;
  }
  ops::LowRank adapter(const Parameter& a, const Parameter& b) const {
    return {&a, &b, 0.7, whole() ? Tensor{} : blocks_of(parts())};
  }
};

TEST(LowRankOutputs, GradientsMatchDifferences) {
  Parameter a = random_parameter(kLayers, {kRank, kIn}, 2), b = random_parameter(kLayers, {kOut, kRank}, 3);
  for (const std::int64_t first : {0, 3}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 2, 3, kIn}, 1)}, {random_tensor({2, 2, 3, 4}, 4)}},
                      .parameters = {&a, &b},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::low_rank(ctx, x[0], x[1], {&a, &b, 0.7, {}}, first)};
                      },
                      .lo = 1,
                      .hi = 3});
  }
}

TEST_P(LowRankOp, GradientsMatchDifferences) {
  for (const int g : {1, 3}) {
    Parameter a = random_parameter(kLayers, {count() * kRank, kIn}, 2);
    Parameter b = random_parameter(kLayers, {height(), kRank}, 3);
    const ops::LowRank low_rank = adapter(a, b);
    EXPECT_GRADIENTS({.inputs = {{random_tensor({g, 2, 3, kIn}, 1)}, {random_tensor({g, 2, 3, kOut}, 4)}},
                      .parameters = {&a, &b},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::low_rank(ctx, x[0], x[1], low_rank)};
                      },
                      .lo = 1,
                      .hi = 1 + g});
  }
}

// As the layers have it: the same input under the matrix and its adapter.
TEST_P(LowRankOp, GradientsBesideItsMatrix) {
  Parameter w = random_parameter(kLayers, {kOut, kIn}, 5), a = random_parameter(kLayers, {count() * kRank, kIn}, 2),
            b = random_parameter(kLayers, {height(), kRank}, 3);
  const ops::LowRank low_rank = adapter(a, b);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 2, 3, kIn}, 1)}},
                    .parameters = {&w, &a, &b},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::low_rank(ctx, x[0], ops::linear(ctx, x[0], w), low_rank)};
                    },
                    .lo = 1,
                    .hi = 3});
}

TEST_P(LowRankOp, IsTheProductOfEachPart) {
  const Parameter a = random_parameter(kLayers, {count() * kRank, kIn}, 2);
  const Parameter b = random_parameter(kLayers, {height(), kRank}, 3);
  const Tensor x = random_tensor({2, 5, kIn}, 1), y = random_tensor({2, 5, kOut}, 4), before = y.clone(Stream{});
  Context ctx{Stream{}, nullptr, false, 2, 4};
  EXPECT_EQ(ops::low_rank(ctx, x, y, adapter(a, b)).value.raw(), y.raw());
  for (int g = 0; g < 2; ++g) {
    const double* wa = a.value().select(2 + g).data<double>();
    const double* wb = b.value().select(2 + g).data<double>();
    for (std::int64_t row = 0; row < 5; ++row) {
      std::vector<double> sum(kOut, 0.0);
      std::int64_t first = 0;  // row of b
      for (std::int64_t p = 0; p < count(); ++p) {
        const Part& part = parts()[static_cast<std::size_t>(p)];
        for (std::int64_t o = part.begin; o < part.end; ++o, ++first) {
          for (std::int64_t r = 0; r < kRank; ++r) {
            for (std::int64_t i = 0; i < kIn; ++i) {
              sum[static_cast<std::size_t>(o)] += 0.7 * wb[first * kRank + r] * wa[(p * kRank + r) * kIn + i] *
                                                  x.data<double>()[(g * 5 + row) * kIn + i];
            }
          }
        }
      }
      for (std::int64_t o = 0; o < kOut; ++o) {
        const std::int64_t at = (g * 5 + row) * kOut + o;
        EXPECT_NEAR(y.data<double>()[at], before.data<double>()[at] + sum[static_cast<std::size_t>(o)], kSameSums);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, LowRankOp,
                         testing::Values(Case{"whole", {{0, kOut}}}, Case{"one_of_three", {{3, 5}}},
                                         Case{"first_and_last", {{0, 3}, {5, kOut}}},
                                         Case{"all_three", {{0, 3}, {3, 5}, {5, kOut}}}),
                         [](const auto& given) { return given.param.name; });

TEST(LowRank, PartsThatDoNotFitAreRefused) {
  const Parameter a = random_parameter(1, {5, kIn}, 2), b = random_parameter(1, {kOut, kRank}, 3);
  Context ctx;
  EXPECT_THROW(ops::low_rank(ctx, random_tensor({1, 2, kIn}, 1), random_tensor({1, 2, kOut}, 1), {&a, &b, 1, {}}),
               Error);
}

}  // namespace
}  // namespace wt
