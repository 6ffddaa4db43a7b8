#include "train/run/task_mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace wt {
namespace {

constexpr std::uint64_t kBlock = 64;  // samples whose tasks are put in order together
constexpr int kShareBits = 27;        // 36 bits of samples times a share stay below 2^63
constexpr std::uint64_t kMaxSamples = std::uint64_t{1} << 36;

}  // namespace

TaskMixture::TaskMixture(const std::vector<double>& weights, std::uint64_t seed) : seed_(seed) {
  double rest = std::accumulate(weights.begin(), weights.end(), 0.0);
  WT_CHECK(rest > 0, "mixture of ", weights.size(), " tasks: the weights' sum is ", rest, ", expected above 0");
  for (const double weight : weights) {
    const double share = rest > 0 ? std::clamp(weight / rest, 0.0, 1.0) : 0;
    shares_.push_back(static_cast<std::uint64_t>(std::llround(std::ldexp(share, kShareBits))));
    rest -= weight;
  }
  // What rounding leaves must not fall to a last task of weight 0.
  const auto last = std::find_if(weights.rbegin(), weights.rend(), [](double weight) { return weight > 0; });
  shares_[static_cast<std::size_t>(weights.rend() - last) - 1] = std::uint64_t{1} << kShareBits;
}

// Each task takes its share of what those before it have left. With every further sample one of the counts grows by one
// and no other changes, so the counts of a longer beginning are never smaller.
std::vector<std::uint64_t> TaskMixture::counts_by_weight(std::uint64_t samples) const {
  std::vector<std::uint64_t> counts;
  counts.reserve(shares_.size());
  for (const std::uint64_t share : shares_) {
    counts.push_back((samples * share) >> kShareBits);
    samples -= counts.back();
  }
  return counts;
}

std::vector<std::size_t> TaskMixture::block_order(Split split, std::uint64_t block) const {
  const std::vector<std::uint64_t> before = counts_by_weight(block * kBlock);
  const std::vector<std::uint64_t> after = counts_by_weight((block + 1) * kBlock);
  std::vector<std::size_t> order;
  order.reserve(kBlock);
  for (std::size_t task = 0; task < before.size(); ++task) order.insert(order.end(), after[task] - before[task], task);
  // Beside the streams that draw lengths, which are below 2^55.
  const std::uint64_t stream = (std::uint64_t{1} << 55) | (static_cast<std::uint64_t>(split) << 48) | block;
  RandomStream random(seed_, random_stream(RandomPurpose::kCurriculum, stream));
  random.shuffle(order);
  return order;
}

std::vector<std::uint64_t> TaskMixture::counts(Split split, std::uint64_t samples) const {
  WT_CHECK(samples <= kMaxSamples, "sample ", samples, " of a mixture, expected up to 2^36");
  if (shares_.size() == 1) return {samples};
  std::vector<std::uint64_t> counts = counts_by_weight(samples / kBlock * kBlock);
  if (samples % kBlock == 0) return counts;
  const std::vector<std::size_t> order = block_order(split, samples / kBlock);
  for (std::uint64_t i = 0; i < samples % kBlock; ++i) ++counts[order[i]];
  return counts;
}

TaskMixture::Place TaskMixture::at(Split split, std::uint64_t sample) const {
  if (shares_.size() == 1) return {0, sample};
  const std::size_t task = block_order(split, sample / kBlock)[sample % kBlock];
  return {task, counts(split, sample)[task]};
}

}  // namespace wt
