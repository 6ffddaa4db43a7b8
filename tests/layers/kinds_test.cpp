#include "layers/kinds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Places = std::vector<std::int32_t>;

// The stack of the header's drawing: conv 0, linear 1, window 2.
const std::vector<int> kLayers{0, 1, 2, 0, 0, 1, 2, 0};

TEST(Kinds, GroupsAreSlicesOfStacks) {
  const Kinds kinds(kLayers, {});
  EXPECT_EQ(kinds.count(), 3);
  EXPECT_EQ(kinds.layers(0), (std::vector<int>{0, 3, 4, 7}));
  EXPECT_EQ(kinds.layers(1), (std::vector<int>{1, 5}));
  const std::vector<LayerGroup> wanted{{0, 1, 3, 0}, {1, 1, 2, 2}, {2, 0, 2, 3}};
  EXPECT_EQ(kinds.groups(2, 7), wanted);
  EXPECT_EQ(kinds.places(2, 7), (Places{3, 0, 1, 2, 4}));
  EXPECT_EQ(kinds.order(2, 7).to_vector<std::int32_t>(), (Places{3, 0, 1, 2, 4}));
}

TEST(Kinds, TheOrderOfLayersNeedsNoOther) {
  const Kinds mixed(kLayers, {}), alike({0, 0, 0}, {});
  for (const auto& [lo, hi] : {std::pair{0, 1}, {0, 3}, {3, 5}, {4, 6}, {5, 6}, {4, 7}}) {
    EXPECT_TRUE(mixed.places(lo, hi).empty()) << lo << " " << hi;
    EXPECT_FALSE(mixed.order(lo, hi).defined());
  }
  for (int lo = 0; lo < 3; ++lo) {
    for (int hi = lo + 1; hi <= 3; ++hi) {
      EXPECT_EQ(alike.groups(lo, hi), (std::vector<LayerGroup>{{0, lo, hi, 0}}));
      EXPECT_TRUE(alike.places(lo, hi).empty());
    }
  }
  EXPECT_ERROR(alike.groups(1, 4), Error, "layers [1,4) of 3");
  EXPECT_ERROR(alike.groups(1, 1), Error, "layers [1,1) of 3");
}

TEST(Kinds, EveryWavesLayersAreThereOnce) {
  const Kinds kinds(kLayers, {});
  for (int lo = 0; lo < 8; ++lo) {
    for (int hi = lo + 1; hi <= 8; ++hi) {
      std::vector<int> in_order;  // layers as the groups say
      for (const LayerGroup& group : kinds.groups(lo, hi)) {
        EXPECT_EQ(group.at, static_cast<std::int64_t>(in_order.size()));
        for (int place = group.lo; place < group.hi; ++place) {
          in_order.push_back(kinds.layers(group.kind)[static_cast<std::size_t>(place)]);
        }
      }
      ASSERT_EQ(static_cast<int>(in_order.size()), hi - lo);
      Places places = kinds.places(lo, hi);
      for (int g = 0; places.empty() && g < hi - lo; ++g) EXPECT_EQ(in_order[static_cast<std::size_t>(g)], lo + g);
      for (std::size_t g = 0; g < places.size(); ++g) {
        EXPECT_EQ(in_order[static_cast<std::size_t>(places[g])], lo + static_cast<int>(g));
      }
    }
  }
}

}  // namespace
}  // namespace wt
