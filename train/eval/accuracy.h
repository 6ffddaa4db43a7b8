// How sure a counted accuracy is, and what guessing would give.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace wt {

struct Interval {
  double low = 0, high = 1;
};

// Wilson's score interval of a share, 95 %: with p = correct / n and z = 1.959964,
// (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)  (Wilson, JASA 22, 1927). No samples: [0, 1].
// Throws Error unless 0 <= correct <= samples.
Interval wilson_interval(std::int64_t correct, std::int64_t samples);

// Share of right answers of one who names a word at random among those that can be the task's answer
// (data/babilong_metric.h); nothing for tasks whose answer is a list of words (qa8, qa19), and for what is no such
// task.
std::optional<double> chance_of(std::string_view task);

}  // namespace wt
