#include "kernels/sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

std::int32_t draw(const std::vector<double>& row, double temperature, double top_p, double uniform,
                  DType dtype = DType::kF64) {
  const Tensor x = Tensor::from<double>({1, static_cast<std::int64_t>(row.size())}, row).to(Stream{}, dtype);
  const Tensor index = Tensor::empty(Stream{}, {1}, DType::kI32);
  sample_rows(Stream{}, x, temperature, top_p, Tensor::from<double>({1}, {uniform}), index);
  return index.data<std::int32_t>()[0];
}

TEST(Sample, FollowsTheDistributionInOrderOfPlaces) {
  const std::vector<double> row{std::log(0.15), std::log(0.5), std::log(0.05), std::log(0.3)};
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    EXPECT_EQ(draw(row, 1, 1, 0.14, dtype), 0);
    EXPECT_EQ(draw(row, 1, 1, 0.16, dtype), 1);
    EXPECT_EQ(draw(row, 1, 1, 0.64, dtype), 1);
    EXPECT_EQ(draw(row, 1, 1, 0.66, dtype), 2);
    EXPECT_EQ(draw(row, 1, 1, 0.71, dtype), 3);
    EXPECT_EQ(draw(row, 1, 1, 0.999999, dtype), 3);
  }
  // At half the temperature the weights are squared: 0.0225, 0.25, 0.0025, 0.09 of 0.365.
  EXPECT_EQ(draw(row, 0.5, 1, 0.061), 0);
  EXPECT_EQ(draw(row, 0.5, 1, 0.062), 1);
  EXPECT_EQ(draw(row, 0.5, 1, 0.746), 1);
  EXPECT_EQ(draw(row, 0.5, 1, 0.747), 2);
}

TEST(Sample, NucleusIsTheFewestThatWeighEnough) {
  const std::vector<double> row{std::log(0.15), std::log(0.5), std::log(0.05), std::log(0.3)};
  // 0.7 needs places 1 and 3, 5/8 and 3/8 of the nucleus; 0.4 the first of them alone.
  EXPECT_EQ(draw(row, 1, 0.7, 0), 1);
  EXPECT_EQ(draw(row, 1, 0.7, 0.62), 1);
  EXPECT_EQ(draw(row, 1, 0.7, 0.63), 3);
  EXPECT_EQ(draw(row, 1, 0.4, 0.999), 1);
  // Of equal ones the first belong to it.
  const std::vector<double> equal{0, 1, 1, 1, 0};
  EXPECT_EQ(draw(equal, 1, 0.5, 0), 1);
  EXPECT_EQ(draw(equal, 1, 0.5, 0.999), 2);
}

TEST(Sample, SharesOfManyDraws) {
  const std::vector<double> row{0, 1, 2, 3};
  double total = 0;
  for (const double x : row) total += std::exp(x);
  RandomStream random(1, random_stream(RandomPurpose::kTest, 7));
  std::vector<double> share(4, 0);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) share[static_cast<std::size_t>(draw(row, 1, 1, random.uniform()))] += 1.0 / kDraws;
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(share[i], std::exp(row[i]) / total, 0.012) << i;
}

TEST(Sample, SpecialNumbers) {
  EXPECT_EQ(draw({kNaN, 2, kNaN, 2}, 1, 1, 0.6), 3);
  EXPECT_EQ(draw({kNaN, 2, kNaN, 2}, 1, 0.5, 0.6), 1);
  EXPECT_EQ(draw({kNaN, kNaN}, 1, 0.5, 0.6), 0);
  EXPECT_EQ(draw({-kInfinity, 1, -kInfinity}, 1, 1, 0.99), 1);
  EXPECT_EQ(draw({5, kInfinity, 3}, 1, 0.9, 0.01), 1);
  EXPECT_EQ(draw({-kInfinity, -kInfinity}, 1, 1, 0.6), 1);
  EXPECT_EQ(draw({700, -700}, 0.01, 1, 0.5), 0);
}

TEST(Sample, Errors) {
  EXPECT_ERROR(draw({1, 2}, 0, 1, 0), Error, "temperature 0 and top_p 1");
  EXPECT_ERROR(draw({1, 2}, 1, 1.5, 0), Error, "top_p 1.5");
  EXPECT_ERROR(draw({1, 2}, 1, 0, 0), Error, "top_p 0");
  EXPECT_ERROR(draw({}, 1, 1, 0), Error, "rows are empty");
}

}  // namespace
}  // namespace wt::kernels
