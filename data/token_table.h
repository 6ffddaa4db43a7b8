// Texts and their token ids: a hash table with open addressing, which is filled once. Internal to the tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace wt {

class TokenTable {
 public:
  // For at most `count` texts. They are not copied and must stay where they are.
  explicit TokenTable(std::size_t count = 0) {
    std::size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    slots_.resize(slots);
  }

  // false where the text is there already, whatever its id.
  bool insert(std::string_view text, std::int32_t id) {
    Slot& slot = slots_[place_of(text)];
    if (slot.id >= 0) return false;
    slot = {text, id, tag_of(text)};
    return true;
  }
  std::optional<std::int32_t> find(std::string_view text) const {
    const Slot& slot = slots_[place_of(text)];
    if (slot.id < 0) return std::nullopt;
    return slot.id;
  }

 private:
  struct Slot {
    std::string_view text;
    std::int32_t id = -1;   // -1: free
    std::uint32_t tag = 0;  // of the hash, so that few texts are compared
  };
  static std::uint32_t tag_of(std::string_view text) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>{}(text) >> 32);
  }
  // Where the text stands, or the free slot where it would.
  std::size_t place_of(std::string_view text) const {
    const std::size_t hash = std::hash<std::string_view>{}(text), mask = slots_.size() - 1;
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.id < 0 || (slot.tag == tag && slot.text == text)) return at;
    }
  }

  std::vector<Slot> slots_;  // a power of two of them, at most half full
};

}  // namespace wt
