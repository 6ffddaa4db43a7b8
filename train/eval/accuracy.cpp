#include "train/eval/accuracy.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/babilong_metric.h"

namespace wt {

Interval wilson_interval(std::int64_t correct, std::int64_t samples) {
  WT_CHECK(correct >= 0 && correct <= samples, "accuracy: ", correct, " right of ", samples);
  if (samples == 0) return {};
  constexpr double kZ = 1.959963984540054;
  const auto n = static_cast<double>(samples);
  const double share = static_cast<double>(correct) / n, z2 = kZ * kZ / n;
  const double middle = share + z2 / 2, half = kZ * std::sqrt(share * (1 - share) / n + z2 / (4 * n));
  return {std::max(0.0, (middle - half) / (1 + z2)), std::min(1.0, (middle + half) / (1 + z2))};
}

std::optional<double> chance_of(std::string_view task) {
  if (task == "qa8" || task == "qa19") return std::nullopt;
  try {
    return 1 / static_cast<double>(babilong_labels(task).size());
  } catch (const UsageError&) {
    return std::nullopt;  // no task of bAbI
  }
}

}  // namespace wt
