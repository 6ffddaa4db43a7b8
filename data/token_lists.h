// The JSON of a tokenizer, read in one pass: its vocabulary and merges, a hundred thousand entries each, go into lists
// and never into a tree. Internal to the tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wt {

// Two tokens that become one.
struct TokenPair {
  std::string both;           // one behind the other: the token they become
  std::size_t left_size = 0;  // bytes of the first
  std::string_view left() const { return std::string_view(both).substr(0, left_size); }
  std::string_view right() const { return std::string_view(both).substr(left_size); }
};

struct TokenLists {
  std::vector<std::pair<std::string, std::int32_t>> vocab;  // in the file's order
  std::vector<TokenPair> merges;
  bool has_vocab = false, has_merges = false;  // the file has them, as an object and as a list
};

// The tree of a tokenizer.json; its model's "vocab" and "merges" are null in it where they went to `lists`. Throws
// Error as parse_json() does (core/json.h), and for an id or a merge that is none.
nlohmann::json parse_tokenizer_tree(std::string_view text, const std::string& name, TokenLists& lists);
// A vocab.json, {token: id, ...}. Throws Error.
void parse_vocab(std::string_view text, const std::string& name, TokenLists& lists);
// "a b"; `where` stands before the complaint.
TokenPair parse_merge(std::string_view text, const std::string& where);

}  // namespace wt
