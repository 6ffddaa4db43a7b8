// A fast 64-bit hash of many bytes: tells files apart and finds damage, and is no protection against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wt {

// Of one block. A changed byte always changes it; `seed` chains blocks.
std::uint64_t hash_block(std::string_view bytes, std::uint64_t seed);

// Of bytes that come in pieces, however they are cut.
class ContentHash {
 public:
  static constexpr std::size_t kBlock = std::size_t{1} << 16;  // bytes
  void add(std::string_view bytes);
  std::uint64_t value() const { return hash_block(block_, hash_); }

 private:
  std::string block_;  // not yet hashed
  std::uint64_t hash_ = 0;
};

}  // namespace wt
