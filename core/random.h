// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number is a pure function of (seed, stream, position), so CPU and GPU, any number of threads, a replayed wave and a
// resumed run all draw the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/host_device.h"

namespace wt {

struct PhiloxBlock {
  std::uint32_t word[4];
};

// Ten rounds over the 128-bit counter (`stream`, `position`) with the 64-bit key `seed`.
WT_HOST_DEVICE inline PhiloxBlock philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t position) {
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  std::uint32_t c0 = static_cast<std::uint32_t>(position), c1 = static_cast<std::uint32_t>(position >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A uniform float in [0, 1) with 24 random bits.
WT_HOST_DEVICE inline float uniform_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
}

// What a stream of numbers is for. Every purpose has its own streams, so that changing one (more dropout, another
// batch size) leaves the others as they were.
enum class RandomPurpose : std::uint8_t {
  kWeights = 1,
  kData = 2,
  kDropout = 3,
  kSampling = 4,
  kTest = 5,
  kCurriculum = 6
};

// The stream number of the index-th stream of a purpose (indices below 2^56).
constexpr std::uint64_t random_stream(RandomPurpose purpose, std::uint64_t index) {
  return (static_cast<std::uint64_t>(purpose) << 56) | index;
}

// Draws one number after another from one stream. `position` is the whole state: save it, and a new RandomStream at
// that position goes on with the same numbers.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream, std::uint64_t position = 0)
      : seed_(seed), stream_(stream), position_(position) {}

  std::uint64_t position() const { return position_; }

  std::uint64_t next_u64();
  // Uniform in [0, 1), 53 random bits.
  double uniform();
  // Uniform in {0, …, bound-1}, unbiased. bound >= 1.
  std::uint64_t below(std::uint64_t bound);
  // Standard normal (Box-Muller; two draws per number, so that the position alone is the state).
  double normal();
  bool bernoulli(double probability) { return uniform() < probability; }
  // Index i with probability weights[i] / sum(weights); weights are not negative, their sum is positive.
  std::size_t weighted(std::span<const double> weights);
  template <class Container>
  void shuffle(Container& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_;  // counts 64-bit numbers
};

}  // namespace wt
