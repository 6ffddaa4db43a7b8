// Counting what simulated stories are made of.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace wt::test {

// Counts of things, read as shares of their sum in percent.
struct Shares {
  std::map<std::string, int> counts;
  void add(const std::string& key) { ++counts[key]; }
  double of(const std::string& key) const {
    double total = 0;
    for (const auto& [name, count] : counts) total += count;
    return counts.count(key) ? 100.0 * counts.at(key) / total : 0.0;
  }
};

inline double mean(const std::vector<int>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// `tolerance` in points of percent.
inline void expect_uniform(const Shares& shares, const std::vector<std::string>& keys, double tolerance) {
  EXPECT_EQ(shares.counts.size(), keys.size());
  for (const std::string& key : keys) {
    EXPECT_NEAR(shares.of(key), 100.0 / static_cast<double>(keys.size()), tolerance) << key;
  }
}

}  // namespace wt::test
