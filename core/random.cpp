#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace wt {

std::uint64_t RandomStream::next_u64() {
  // One block gives two numbers; recomputing it for the second keeps the state a single integer.
  const PhiloxBlock block = philox(seed_, stream_, position_ >> 1);
  const std::size_t half = (position_ & 1) * 2;
  ++position_;
  return (std::uint64_t{block.word[half + 1]} << 32) | block.word[half];
}

double RandomStream::uniform() {
  return static_cast<double>(next_u64() >> 11) * 0x1p-53;
}

std::uint64_t RandomStream::below(std::uint64_t bound) {
  WT_CHECK(bound > 0, "random number below 0");
  // Lemire's method: the high half of a 128-bit product, with the few values that would bias it drawn again.
  __extension__ using u128 = unsigned __int128;
  u128 product = static_cast<u128>(next_u64()) * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < threshold) product = static_cast<u128>(next_u64()) * bound;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::size_t RandomStream::weighted(std::span<const double> weights) {
  double total = 0;
  for (const double w : weights) total += w;
  WT_CHECK(total > 0, "weighted choice without positive weights");
  double left = uniform() * total;
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    last = i;
    if (left < weights[i]) return i;
    left -= weights[i];
  }
  return last;
}

}  // namespace wt
