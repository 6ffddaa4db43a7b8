#include "data/byte_pair_encoder.h"

#include <algorithm>
#include <queue>

#include "core/error.h"
#include "core/utf8.h"

namespace wt {
namespace {

constexpr std::size_t kShards = 16;
constexpr std::size_t kWordsPerShard = 4096;
constexpr std::size_t kLongestCachedWord = 64;  // bytes; longer ones hardly repeat

std::uint64_t mix(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ (key >> 32);
}

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

}  // namespace

struct BytePairEncoder::Cache {
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<std::int32_t>, TextHash, std::equal_to<>> words;
  };
  std::array<Shard, kShards> shards;
};

BytePairEncoder::BytePairEncoder(Alphabet alphabet, const std::vector<MergeRule>& rules)
    : alphabet_(std::move(alphabet)), cache_(std::make_shared<Cache>()) {
  std::size_t slots = 16;
  while (slots < 2 * rules.size()) slots *= 2;
  slot_mask_ = slots - 1;
  keys_.resize(slots);
  values_.assign(slots, Ranked{0, -1});
  for (std::size_t rank = 0; rank < rules.size(); ++rank) {
    const std::uint64_t key = pair_key(rules[rank].left, rules[rank].right);
    std::uint64_t slot = mix(key) & slot_mask_;
    while (values_[slot].merged >= 0 && keys_[slot] != key) slot = (slot + 1) & slot_mask_;
    keys_[slot] = key;  // a rule given twice counts at its last rank, as in Hugging Face's library
    values_[slot] = {static_cast<std::int32_t>(rank), rules[rank].merged};
  }
}

const BytePairEncoder::Ranked* BytePairEncoder::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = pair_key(left, right);
  for (std::uint64_t slot = mix(key) & slot_mask_; values_[slot].merged >= 0; slot = (slot + 1) & slot_mask_) {
    if (keys_[slot] == key) return &values_[slot];
  }
  return nullptr;
}

void BytePairEncoder::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  if (piece.size() > kLongestCachedWord) return merge(piece, out);
  Cache::Shard& shard = cache_->shards[TextHash{}(piece) % kShards];
  {
    const std::lock_guard lock(shard.mutex);
    if (const auto found = shard.words.find(piece); found != shard.words.end()) {
      out.insert(out.end(), found->second.begin(), found->second.end());
      return;
    }
  }
  const std::size_t begin = out.size();
  merge(piece, out);
  std::vector<std::int32_t> ids(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
  const std::lock_guard lock(shard.mutex);
  if (shard.words.size() >= kWordsPerShard) shard.words.clear();
  shard.words.emplace(piece, std::move(ids));
}

std::vector<std::int32_t> BytePairEncoder::start(std::string_view piece) const {
  std::vector<std::int32_t> ids;
  ids.reserve(piece.size());
  const auto add_byte = [&](std::size_t at) {
    const auto byte = static_cast<unsigned char>(piece[at]);
    const std::int32_t id = alphabet_.byte_ids[byte];
    WT_CHECK(id >= 0, "tokenizer: the vocabulary has no token for byte ", static_cast<int>(byte),
             alphabet_.by_character ? ", and none for what is unknown" : "; a byte-level vocabulary needs all 256");
    ids.push_back(id);
  };
  if (!alphabet_.by_character) {
    for (std::size_t i = 0; i < piece.size(); ++i) add_byte(i);
    return ids;
  }
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t length = utf8_length_at(piece, i), bytes = std::max<std::size_t>(length, 1);
    const auto known = length > 0 ? alphabet_.characters.find(utf8_at(piece, i)) : alphabet_.characters.end();
    // Byte tokens are all there or none (tokenizer.cpp sees to that).
    if (known != alphabet_.characters.end()) {
      ids.push_back(known->second);
    } else if (alphabet_.unknown < 0 || alphabet_.byte_ids[0] >= 0) {
      for (std::size_t k = 0; k < bytes; ++k) add_byte(i + k);
    } else if (!alphabet_.fuse_unknown || ids.empty() || ids.back() != alphabet_.unknown) {
      ids.push_back(alphabet_.unknown);
    }
    i += bytes;
  }
  return ids;
}

void BytePairEncoder::merge(std::string_view piece, std::vector<std::int32_t>& out) const {
  // A doubly linked list of tokens in an array; a merge writes the left one and unlinks the right one.
  struct Node {
    std::int32_t id;
    std::int32_t previous, next;  // -1 at the ends
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;               // node
    std::int32_t left_id, right_id;  // what stood there when this was found: stale if it has changed
    std::int32_t merged;
    bool operator<(const Candidate& other) const {  // std::priority_queue puts the largest on top
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  WT_CHECK(piece.size() < (std::size_t{1} << 30), "tokenizer: a piece of ", piece.size(),
           " bytes without a place to cut it, expected less than 2^30");
  const std::vector<std::int32_t> ids = start(piece);
  const auto length = static_cast<std::int32_t>(ids.size());
  std::vector<Node> nodes(ids.size());
  for (std::int32_t i = 0; i < length; ++i) {
    nodes[static_cast<std::size_t>(i)] = {ids[static_cast<std::size_t>(i)], i - 1, i + 1 < length ? i + 1 : -1};
  }
  const auto node = [&](std::int32_t i) -> Node& { return nodes[static_cast<std::size_t>(i)]; };
  std::priority_queue<Candidate> queue;
  const auto propose = [&](std::int32_t left) {
    if (left < 0 || node(left).next < 0) return;
    const std::int32_t left_id = node(left).id, right_id = node(node(left).next).id;
    if (const Ranked* rule = find(left_id, right_id)) queue.push({rule->rank, left, left_id, right_id, rule->merged});
  };
  for (std::int32_t i = 0; i + 1 < length; ++i) propose(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = node(best.left);
    if (left.id != best.left_id || left.next < 0 || node(left.next).id != best.right_id) continue;
    Node& right = node(left.next);
    left.id = best.merged;
    right.id = -1;  // no token: candidates that start here are stale
    left.next = right.next;
    if (left.next >= 0) node(left.next).previous = best.left;
    propose(left.previous);
    propose(best.left);
  }
  for (std::int32_t i = length > 0 ? 0 : -1; i >= 0; i = node(i).next) out.push_back(node(i).id);
}

}  // namespace wt
