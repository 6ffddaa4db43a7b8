// What a tokenizer's files say, before it is put to work. Internal to the tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wt {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;
  bool normalized = false;  // matched after those that are not
};

struct TokenizerParts {
  std::string name;  // for errors
  std::vector<std::string> files;
  std::vector<std::pair<std::string, std::int32_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<AddedToken> added_tokens;
  bool ignore_merges = false;  // a piece that is a token as a whole becomes it, whatever the merges say
  std::vector<std::string> split_patterns;
  bool add_prefix_space = false;
  std::vector<std::int32_t> ids_before, ids_after;  // what the post-processor puts around a text
};

// Both throw Error, with `name`, for what is damaged and for what is not supported.
TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& name);
TokenizerParts read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path);

}  // namespace wt
