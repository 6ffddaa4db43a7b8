#include "core/fields.h"

#include <gtest/gtest.h>

namespace wt {
namespace {

TEST(Range, ContainsItsBoundsUnlessTheyAreOpen) {
  EXPECT_TRUE(Range{}.contains(-1e300));
  EXPECT_TRUE(at_least(1).contains(1));
  EXPECT_FALSE(at_least(1).contains(0.5));
  EXPECT_FALSE(above(0).contains(0));
  EXPECT_TRUE(above(0).contains(1e-300));
  EXPECT_TRUE(from_to(0, 1).contains(1));
  EXPECT_FALSE(from_to_below(0, 1).contains(1));
  EXPECT_TRUE(from_to_below(0, 1).contains(0));
}

TEST(Range, SaysWhatIsAllowed) {
  EXPECT_EQ(Range{}.str(), "");
  EXPECT_EQ(Range{}.str("a number"), "a number");
  EXPECT_EQ(at_least(1).str("a whole number"), "a whole number at least 1");
  EXPECT_EQ(above(0).str("a number"), "a number above 0");
  EXPECT_EQ(from_to(0, 1e9).str(), "from 0 to 1000000000");
  EXPECT_EQ(from_to_below(0, 0.5).str(), "from 0 to below 0.5");
  EXPECT_EQ((Range{.max = 3}).str(), "at most 3");
  EXPECT_EQ((Range{.min = 0, .max = 3, .min_open = true, .max_open = true}).str(), "above 0 and below 3");
}

}  // namespace
}  // namespace wt
