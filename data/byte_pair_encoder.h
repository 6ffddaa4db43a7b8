// The merging half of byte-pair encoding: one piece of text -> token ids. Internal to the tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace wt {

// One merge rule: the tokens `left` and `right`, next to each other, become `merged`. Rules rank by their order.
struct MergeRule {
  std::int32_t left = 0;
  std::int32_t right = 0;
  std::int32_t merged = 0;
};

// What stands for a piece before anything is merged: a token for every byte (GPT-2's way), or for every character, and
// for a character without a token its bytes or the unknown token (SentencePiece's way). Ids are -1 where there is none.
struct Alphabet {
  std::array<std::int32_t, 256> byte_ids{};
  bool by_character = false;
  std::unordered_map<char32_t, std::int32_t> characters;
  std::int32_t unknown = -1;
  bool fuse_unknown = false;  // neighbouring unknown characters become one token
};

class BytePairEncoder {
 public:
  BytePairEncoder(Alphabet alphabet, const std::vector<MergeRule>& rules);

  // Appends the ids of the piece: the rule of lowest rank that applies anywhere is applied at its leftmost place, until
  // none applies. Time n log n in the length of the piece. Throws Error for a byte or character without a token.
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const;

 private:
  void merge(std::string_view piece, std::vector<std::int32_t>& out) const;
  std::vector<std::int32_t> start(std::string_view piece) const;

  struct Ranked {
    std::int32_t rank = 0;
    std::int32_t merged = 0;
  };
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }
  const Ranked* find(std::int32_t left, std::int32_t right) const;

  // Words repeat: most pieces of a text are found here. Sharded, so that threads seldom wait for each other.
  struct Cache;

  Alphabet alphabet_;
  // Open addressing, a power of two of slots at most half full; merged == -1 marks a free one.
  std::vector<std::uint64_t> keys_;
  std::vector<Ranked> values_;
  std::uint64_t slot_mask_ = 0;
  std::shared_ptr<Cache> cache_;
};

}  // namespace wt
