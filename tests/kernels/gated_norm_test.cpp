// The gated norm against its definition in plain double loops. (Its backward is differenced in tests/autograd.)
#include "kernels/gated_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/support.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

// Double sums in another order.
constexpr double kRounding = 1e-12;
constexpr DType kF64 = DType::kF64;
using Values = std::vector<double>;
const Stream kStream;

TEST(GatedNorm, IsItsDefinition) {
  const std::int64_t g = 2, b = 2, t = 3, n = 12, width = 15;
  const Tensor y = normal_tensor({g, b, t, n}, 1, kF64), z = normal_tensor({g, b, t, width}, 2, kF64),
               w = normal_tensor({g, n}, 3, kF64);
  for (const bool norm_first : {false, true}) {
    for (const std::int64_t groups : {1, 3, 12}) {
      const GatedNorm norm{.groups = groups, .eps = 1e-3, .norm_first = norm_first};
      Values expected, scales;
      for (std::int64_t row = 0; row < g * b * t; ++row) {
        const auto gate = [&](std::int64_t i) {
          const double v = z.data<double>()[row * width + i];
          return v / (1 + std::exp(-v));
        };
        for (std::int64_t group = 0; group < groups; ++group) {
          double squares = 0;
          const std::int64_t size = n / groups, first = group * size;
          for (std::int64_t i = first; i < first + size; ++i) {
            squares += std::pow(y.data<double>()[row * n + i] * (norm_first ? 1 : gate(i)), 2) / size;
          }
          scales.push_back(1 / std::sqrt(squares + 1e-3));
          for (std::int64_t i = first; i < first + size; ++i) {
            expected.push_back(w.data<double>()[row / (b * t) * n + i] * y.data<double>()[row * n + i] * gate(i) *
                               scales.back());
          }
        }
      }
      const Tensor o = poisoned(y.shape(), kF64), rstd = poisoned({g, b, t, groups}, kF64), same = y.clone(kStream);
      gated_norm_forward(kStream, y, z, w, norm, o, rstd);
      EXPECT_LT(largest_error(values_of(o), expected), kRounding);
      EXPECT_LT(largest_error(values_of(rstd), scales), kRounding);
      gated_norm_forward(kStream, same, z, w, norm, same, rstd);
      EXPECT_TRUE(bit_equal(same, o));
    }
  }
}

TEST(GatedNorm, BadShapesAreRefused) {
  const Tensor y = normal_tensor({1, 2, 3, 6}, 1, kF64), z = normal_tensor({1, 2, 3, 7}, 2, kF64),
               w = normal_tensor({1, 6}, 3, kF64), rstd = normal_tensor({1, 2, 3, 2}, 4, kF64), o = y.clone(kStream),
               dz = z.clone(kStream);
  const GatedNorm norm{.groups = 2};
  gated_norm_forward(kStream, y, z, w, norm, o, rstd);
  EXPECT_ERROR(gated_norm_forward(kStream, y, z, w, {.groups = 4}, o, rstd), Error,
               "gated_norm: 6 channels do not divide into 4 groups");
  EXPECT_ERROR(gated_norm_forward(kStream, y, z, w, {.groups = 0}, o, rstd), Error, "into 0 groups");
  EXPECT_ERROR(gated_norm_forward(kStream, z, y, w, {}, o, rstd), Error, "gated_norm: z has 6 columns, y 7");
  EXPECT_ERROR(gated_norm_forward(kStream, w, z, w, norm, o, rstd), Error, "gated_norm: y is f64[1,6]");
  EXPECT_ERROR(gated_norm_forward(kStream, y, z.reshape({1, 3, 2, 7}), w, norm, o, rstd), Error, "gated_norm: z is");
  EXPECT_ERROR(gated_norm_forward(kStream, y, z, z, norm, o, rstd), Error, "gated_norm: w");
  EXPECT_ERROR(gated_norm_forward(kStream, y, z, w, norm, o, y), Error, "gated_norm: rstd");
  EXPECT_ERROR(gated_norm_forward(kStream, y, z, w, norm, z, rstd), Error, "gated_norm: o is [1,2,3,7]");
  const auto backward = [&](const Tensor& dout, const Tensor& dy, const Tensor& to_z, const Tensor& dw) {
    gated_norm_backward(kStream, dout, y, z, w, rstd, norm, dy, to_z, dw);
  };
  backward(o, o, dz, {});
  EXPECT_ERROR(backward(z, o, dz, {}), Error, "gated_norm backward: dout");
  EXPECT_ERROR(backward(o, z, dz, {}), Error, "gated_norm backward: dy is");
  EXPECT_ERROR(backward(o, o, y, {}), Error, "gated_norm backward: dz is [1,2,3,6]");
  EXPECT_ERROR(backward(o, y, dz, {}), Error, "gated_norm backward: dy lies in y");
  EXPECT_ERROR(backward(o, o, dz, y), Error, "gated_norm backward: dw");
}

}  // namespace
}  // namespace wt::kernels
