#include "kernels/rotary.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Size {
  std::int64_t g, b, t, heads, head_width, rest;  // rest: columns behind the heads that stay as they are
};
// The last is a wave of Llama-1B with fewer layers. Widths that 16-byte accesses fit in neither dtype, in f32 only, in
// both; numbers of heads that are not a multiple of what a thread turns.
const Size kSizes[] = {{1, 1, 1, 1, 8, 0},   {3, 2, 13, 3, 16, 2 * 16}, {1, 2, 129, 5, 12, 3},
                       {1, 3, 13, 2, 24, 8}, {2, 1, 129, 5, 64, 64},    {3, 1, 13, 7, 128, 5},
                       {1, 1, 5, 4, 2, 1},   {4, 1, 1152, 40, 64, 512}};

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? kGpuBF16 : kGpuF32;
}
Tensor input(Shape shape, std::uint64_t seed, DType dtype) {
  const Tensor x = normal(shape, seed);
  return dtype == DType::kBF16 ? rounded(x) : x;
}
Tensor table(std::int64_t positions, std::int64_t head_width) {
  std::vector<float> values;
  for (std::int64_t t = 0; t < positions; ++t) {
    const auto angle = [&](std::int64_t i) {
      return static_cast<double>(t) * std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
    };
    for (std::int64_t i = 0; i < head_width / 2; ++i) values.push_back(static_cast<float>(std::cos(angle(i))));
    for (std::int64_t i = 0; i < head_width / 2; ++i) values.push_back(static_cast<float>(std::sin(angle(i))));
  }
  return Tensor::from<float>({positions, head_width}, values);
}

class GpuRotary : public ::testing::TestWithParam<DType> {};

TEST_P(GpuRotary, AsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    const Tensor x = input({s.g, s.b, s.t, s.heads * s.head_width + s.rest}, 1, dtype);
    const Tensor cos_sin = table(s.t + 30, s.head_width);
    std::vector<std::int32_t> first(static_cast<std::size_t>(s.b));
    for (std::size_t i = 0; i < first.size(); ++i) first[i] = static_cast<std::int32_t>(30 - 11 * i);
    for (const Tensor& start : {Tensor{}, Tensor::from<std::int32_t>({s.b}, first)}) {
      for (const bool inverse : {false, true}) {
        SCOPED_TRACE(
            cat(s.heads, " heads of ", s.head_width, ", rows ", s.t, ", start ", start, ", inverse ", inverse));
        const Tensor want = x.clone(kCpu);
        rotary(kCpu, want, s.heads, cos_sin, start, inverse);
        const auto run = [&] {
          const Tensor got = upload(x, dtype);
          rotary(gpu(), got, s.heads, upload(cos_sin), start.defined() ? upload(start) : start, inverse);
          return got;
        };
        const Tensor got = run();
        EXPECT_LT(relative_error(got, want), tolerance(dtype));
        EXPECT_TRUE(same_bytes(got, run()));
      }
    }
  }
}

TEST_P(GpuRotary, TurnsBack) {
  const DType dtype = GetParam();
  const Tensor x = input({2, 1, 129, 5 * 64}, 2, dtype), got = upload(x, dtype), cos_sin = upload(table(129, 64));
  rotary(gpu(), got, 4, cos_sin, {}, false);
  EXPECT_GT(relative_error(got, x), 0.1);
  rotary(gpu(), got, 4, cos_sin, {}, true);
  EXPECT_LT(relative_error(got, x), tolerance(dtype));
}

// Only the kernel sees them: it must not read outside of the table, and the next wait says so.
TEST_P(GpuRotary, PositionsOutsideOfTheTableAreAnError) {
  const DType dtype = GetParam();
  const Tensor x = input({1, 2, 4, 16}, 3, dtype), got = upload(x, dtype);
  rotary(gpu(), got, 1, upload(table(4, 16)), upload(Tensor::from<std::int32_t>({2}, {-100, 1 << 30})), false);
  EXPECT_ERROR(gpu().synchronize(), Error, "rotary: a position is beyond the table of angles");
  EXPECT_EQ(relative_error(got, x), 0);
}

TEST_P(GpuRotary, EveryCellMayBeginAtAnEntryOfItsOwn) {
  const DType dtype = GetParam();
  const Tensor x = input({3, 2, 4, 24}, 3, dtype), want = x.clone(kCpu), got = upload(x, dtype), angles = table(50, 8);
  const Tensor first = Tensor::from<std::int32_t>({3, 2}, {0, 46, 7, 7, 21, 3});
  rotary(kCpu, want, 3, angles, first, false);
  rotary(gpu(), got, 3, upload(angles), upload(first), false);
  EXPECT_LT(relative_error(got, want), tolerance(dtype));
}

TEST_P(GpuRotary, PartsOfHeadsAndPlacesInATextAsOnTheCpu) {
  const DType dtype = GetParam();
  for (const auto& [r, k] : {std::pair{64, 128}, std::pair{8, 24}, std::pair{6, 7}, std::pair{16, 16}}) {
    const Tensor x = input({2, 3, 37, 5 * k + 8}, 4, dtype), angles = table(50, r);
    std::vector<double> by;
    for (std::int64_t i = 0; i < r / 2; ++i) by.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / r));
    const Tensor frequencies = Tensor::from<double>({r / 2}, by);
    const Tensor past = Tensor::from<std::int32_t>({2, 3}, {0, 5, 1000, 131'072, 10'000'000, 2'000'000'000});
    for (const Tensor& first : {Tensor{}, Tensor::from<std::int32_t>({2, 3}, {0, 13, 1, 2, 3, 4})}) {
      for (const bool inverse : {false, true}) {
        for (const bool far : {false, true}) {
          const Tensor want = x.clone(kCpu), got = upload(x, dtype);
          const RotaryOptions options{k, far ? frequencies : Tensor{}, far ? past : Tensor{}};
          const RotaryOptions there{k, far ? upload(frequencies) : Tensor{}, far ? upload(past) : Tensor{}};
          rotary(kCpu, want, 5, angles, first, inverse, options);
          rotary(gpu(), got, 5, upload(angles), first.defined() ? upload(first) : first, inverse, there);
          EXPECT_LT(relative_error(got, want), tolerance(dtype)) << r << " of " << k << ", far " << far;
        }
      }
    }
  }
}

// Against long double: each table's entry, each cell's rotation and their product are rounded.
TEST(GpuRotaryOfTexts, ExactTenMillionRowsOn) {
  const std::int64_t r = 64, t = 500;
  std::vector<double> by;
  for (std::int64_t i = 0; i < r / 2; ++i) by.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / r));
  std::vector<float> angles;
  for (std::int64_t row = 0; row < t; ++row) {
    for (const double f : by) angles.push_back(static_cast<float>(std::cos(static_cast<double>(row) * f)));
    for (const double f : by) angles.push_back(static_cast<float>(std::sin(static_cast<double>(row) * f)));
  }
  const std::vector<std::int32_t> pasts{0, 131'072, 9'999'999, 10'000'000};
  std::vector<float> ones;  // pairs (1, 0) turn into (cos, sin)
  for (std::int64_t i = 0; i < 4 * t * r; ++i) ones.push_back(i % r < r / 2 ? 1.0f : 0.0f);
  const Tensor x = upload(Tensor::from<float>({1, 4, t, r}, ones));
  rotary(gpu(), x, 1, upload(Tensor::from<float>({t, r}, angles)), {}, false,
         {.frequencies = Tensor::from<double>(gpu(), {r / 2}, by),
          .past = Tensor::from<std::int32_t>(gpu(), {1, 4}, pasts)});
  const std::vector<float> got = x.to_cpu(gpu()).to_vector<float>();
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const long double position = pasts[static_cast<std::size_t>(at / (t * r))] + at / r % t;
    const long double angle = position * static_cast<long double>(by[static_cast<std::size_t>(at % (r / 2))]);
    const long double want = at % r < r / 2 ? std::cos(angle) : std::sin(angle);
    worst = std::max(worst, std::abs(static_cast<double>(static_cast<long double>(got[i]) - want)));
  }
  EXPECT_LT(worst, 2e-7);
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuRotary, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
