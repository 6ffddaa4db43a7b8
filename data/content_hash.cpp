#include "data/content_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace wt {
namespace {

constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15u;
constexpr std::size_t kLanes = 4;

}  // namespace

// Every step (exclusive or, rotation, product with an odd number) can be undone, so no change in one lane is lost.
// Four lanes, because one product would have to wait for the other.
std::uint64_t hash_block(std::string_view bytes, std::uint64_t seed) {
  std::array<std::uint64_t, kLanes> lanes{seed + 1, seed + 2, seed + 3, seed + 4};
  const auto add = [&](const char* stripe) {
    std::array<std::uint64_t, kLanes> words;
    std::memcpy(words.data(), stripe, sizeof words);
    for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = std::rotl(lanes[i] ^ words[i], 29) * kOdd;
  };
  constexpr std::size_t kStripe = kLanes * sizeof(std::uint64_t);
  std::size_t at = 0;
  for (; at + kStripe <= bytes.size(); at += kStripe) add(bytes.data() + at);
  std::array<char, kStripe> rest{};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), rest.begin());
  add(rest.data());
  std::uint64_t hash = bytes.size();
  for (const std::uint64_t lane : lanes) {
    hash = (hash ^ lane) * kOdd;
    hash ^= hash >> 32;
  }
  return hash;
}

void ContentHash::add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kBlock - block_.size());
    block_ += bytes.substr(0, count);
    bytes.remove_prefix(count);
    if (block_.size() < kBlock) return;
    hash_ = hash_block(block_, hash_);
    block_.clear();
  }
}

}  // namespace wt
