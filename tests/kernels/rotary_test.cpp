// Rotary position embedding of part of a head, and at positions that count on over a text. The whole head by a table is
// in composite_test.cpp.
#include "kernels/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/support.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

const Stream kStream;

// θ^(-2i/R) of Llama's θ for long texts.
Tensor frequencies(std::int64_t r, double theta = 500'000) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < r / 2; ++i) {
    values.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(r)));
  }
  return Tensor::from<double>({r / 2}, values);
}

Tensor table(std::int64_t entries, const Tensor& by, DType dtype) {
  std::vector<double> values;
  for (std::int64_t p = 0; p < entries; ++p) {
    for (const double f : by.to_vector<double>()) values.push_back(std::cos(static_cast<double>(p) * f));
    for (const double f : by.to_vector<double>()) values.push_back(std::sin(static_cast<double>(p) * f));
  }
  return Tensor::from<double>({entries, 2 * by.numel()}, values).to(kStream, dtype);
}

TEST(Rotary, TurnsTheFrontOfAHead) {
  const std::int64_t r = 6, k = 10, heads = 3;
  const Tensor angles = normal_tensor({5, r}, 1, DType::kF64),
               x = normal_tensor({2, 2, 5, heads * k + 4}, 2, DType::kF64);
  for (const bool inverse : {false, true}) {
    const Tensor got = x.clone(kStream), alone = Tensor::empty(kStream, {2, 2, 5, r}, DType::kF64);
    rotary(kStream, got, heads, angles, {}, inverse, {.head_width = k});
    std::vector<double> want = values_of(x);
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto each = [&](auto&& body) {
        for (std::int64_t row = 0; row < 20; ++row) {
          for (std::int64_t i = 0; i < r; ++i) {
            body(alone.data<double>()[row * r + i],
                 want[static_cast<std::size_t>(row * (heads * k + 4) + head * k + i)]);
          }
        }
      };
      each([](double& in_head, double in_row) { in_head = in_row; });
      rotary(kStream, alone, 1, angles, {}, inverse);
      each([](double in_head, double& in_row) { in_row = in_head; });
    }
    EXPECT_EQ(values_of(got), want);
  }
}

TEST(Rotary, PositionsOfATextAreThoseOfALongTable) {
  const std::int64_t r = 8, k = 12;
  const Tensor by = frequencies(r, 100), whole = table(500, by, DType::kF64),
               x = normal_tensor({2, 2, 4, 3 * k}, 1, DType::kF64);
  const Tensor past = integers({2, 2}, {0, 400, 77, 12}), open = integers({2, 2}, {3, 0, 5, 40});
  for (const bool inverse : {false, true}) {
    for (const Tensor& first : {Tensor{}, open}) {
      std::vector<std::int32_t> sum = past.to_vector<std::int32_t>();
      for (std::size_t i = 0; i < sum.size() && first.defined(); ++i) sum[i] += first.data<std::int32_t>()[i];
      const Tensor got = x.clone(kStream), want = x.clone(kStream);
      rotary(kStream, got, 3, whole.slice(0, 44), first, inverse, {k, by, past});
      rotary(kStream, want, 3, whole, integers({2, 2}, sum), inverse, {.head_width = k});
      EXPECT_LT(largest_error(values_of(got), values_of(want)), 1e-13);
    }
  }
}

// Against long double. In f32 each table's entry and the composed one are rounded once; in f64 the angle itself is.
TEST(Rotary, ExactTenMillionRowsOn) {
  const std::int64_t r = 64, t = 700;
  const Tensor by = frequencies(r);
  const std::vector<std::int32_t> pasts{0, 1, 131'072, 9'999'999, 10'000'000, 2'000'000'000};
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    // Pairs (1, 0) turn into (cos, sin).
    const Tensor x = Tensor::zeros(kStream, {1, 6, t, r}, DType::kF64);
    for (std::int64_t row = 0; row < 6 * t; ++row) {
      for (std::int64_t i = 0; i < r / 2; ++i) x.data<double>()[row * r + i] = 1;
    }
    const Tensor turned = x.to(kStream, dtype).clone(kStream);
    rotary(kStream, turned, 1, table(t, by, dtype), {}, false, {.frequencies = by, .past = integers({1, 6}, pasts)});
    const std::vector<double> got = values_of(turned);
    for (std::size_t b = 0; b < pasts.size(); ++b) {
      double worst = 0;
      for (std::int64_t row = 0; row < t; ++row) {
        for (std::int64_t i = 0; i < r / 2; ++i) {
          const long double angle = (static_cast<long double>(pasts[b]) + static_cast<long double>(row)) *
                                    static_cast<long double>(by.data<double>()[i]);
          const std::size_t at =
              (b * static_cast<std::size_t>(t) + static_cast<std::size_t>(row)) * r + static_cast<std::size_t>(i);
          worst = std::max(worst, std::abs(got[at] - static_cast<double>(std::cos(angle))));
          worst = std::max(worst, std::abs(got[at + r / 2] - static_cast<double>(std::sin(angle))));
        }
      }
      // 1.1e-16 of the angle.
      const double angle_error = 1.2e-16 * static_cast<double>(pasts[b]) + 1e-13;
      EXPECT_LT(worst, dtype == DType::kF32 ? 2e-7 + angle_error : angle_error) << pasts[b];
    }
  }
}

TEST(Rotary, Errors) {
  const Tensor x = Tensor::zeros(kStream, {1, 2, 3, 12}, DType::kF32),
               angles = Tensor::zeros(kStream, {3, 4}, DType::kF32);
  const Tensor by = Tensor::zeros(kStream, {2}, DType::kF64), past = integers({1, 2}, {0, 0});
  EXPECT_ERROR(rotary(kStream, x, 2, angles, {}, false, {.head_width = 7}), Error,
               "rotary: 2 heads of width 7 in rows of 12");
  EXPECT_ERROR(rotary(kStream, x, 2, angles, {}, false, {.head_width = 3}), Error,
               "rotary: 4 elements of heads of width 3");
  EXPECT_ERROR(rotary(kStream, x, 2, angles, {}, false, {.past = past}), Error,
               "rotary: past and frequencies go together");
  EXPECT_ERROR(rotary(kStream, x, 2, angles, {}, false, {.frequencies = by, .past = integers({2}, {0, 0})}), Error,
               "rotary: all.past is [2], expected [1,2]");
  EXPECT_ERROR(rotary(kStream, x, 2, angles, {}, false, {.frequencies = past, .past = past}), Error,
               "rotary: all.frequencies is [1,2], expected [2]");
}

}  // namespace
}  // namespace wt::kernels
