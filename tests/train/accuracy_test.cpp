#include "train/eval/accuracy.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace wt {
namespace {

// Values of scipy's binomtest(correct, samples).proportion_ci(method="wilson").
TEST(Wilson, IsThePublishedInterval) {
  struct Case {
    std::int64_t correct, samples;
    double low, high;
  };
  for (const Case& c : {Case{0, 10, 0, 0.27753279}, Case{10, 10, 0.72246721, 1}, Case{93, 100, 0.86250485, 0.96568074},
                        Case{1, 2, 0.09453121, 0.90546879}, Case{170, 1000, 0.14799160, 0.19453407}}) {
    const Interval interval = wilson_interval(c.correct, c.samples);
    EXPECT_NEAR(interval.low, c.low, 1e-6) << c.correct << " of " << c.samples;
    EXPECT_NEAR(interval.high, c.high, 1e-6) << c.correct << " of " << c.samples;
  }
}

TEST(Wilson, KnowsNothingWithoutSamples) {
  EXPECT_EQ(wilson_interval(0, 0).low, 0);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
  EXPECT_THROW(wilson_interval(3, 2), Error);
  EXPECT_THROW(wilson_interval(-1, 2), Error);
}

TEST(Chance, IsOneOfTheTasksAnswers) {
  EXPECT_DOUBLE_EQ(*chance_of("qa1"), 1.0 / 6);  // six places
  EXPECT_DOUBLE_EQ(*chance_of("qa6"), 0.5);      // yes, no
  EXPECT_DOUBLE_EQ(*chance_of("qa10"), 1.0 / 3);
  EXPECT_FALSE(chance_of("qa8"));  // lists
  EXPECT_FALSE(chance_of("qa19"));
  EXPECT_FALSE(chance_of("pairs"));
  EXPECT_FALSE(chance_of("-"));
}

}  // namespace
}  // namespace wt
