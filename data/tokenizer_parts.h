// What a tokenizer's files say, before it is put to work. Internal to the tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/token_lists.h"

namespace wt {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;
  bool normalized = false;  // matched after those that are not, in the text as the normalizer leaves it
};

// One rewriting of a text before it is cut.
struct TextStep {
  enum class Kind : std::uint8_t {
    kPrepend,      // `to` before every text that is not empty
    kReplace,      // `from` by `to`
    kPrefix,       // `to` before every text that does not begin with it
    kPrefixFirst,  // the same, only at the very beginning
  };
  Kind kind = Kind::kReplace;
  std::string from, to;
};

// Tokens -> text.
struct Decoding {
  bool byte_level = true;  // GPT-2's characters; the rest is for vocabularies of characters
  std::vector<std::pair<std::string, std::string>> replacements;
  bool byte_tokens = false;  // "<0x0A>" is a byte
  std::string strip;         // taken away at the ends of a whole text, so often
  int strip_start = 0, strip_stop = 0;
  std::string first_drops;  // every one of these in the first token is dropped (Metaspace)
};

struct TokenizerParts {
  std::string name;  // for errors
  std::vector<std::string> files;
  TokenLists lists;
  std::vector<AddedToken> added_tokens;
  bool ignore_merges = false;  // a piece that is a token as a whole becomes it, whatever the merges say

  bool byte_level = true;  // tokens spell bytes (GPT-2), not characters (SentencePiece)
  std::string unk_token;   // for vocabularies of characters; "" where there is none
  bool fuse_unk = false, byte_fallback = false;

  std::vector<TextStep> normalizer;    // before normalized added tokens are looked for
  std::vector<TextStep> before_split;  // after that
  std::vector<std::string> split_patterns;
  bool add_prefix_space = false;
  std::vector<std::int32_t> ids_before, ids_after;  // what the post-processor puts around a text
  Decoding decoding;
};

// Both throw Error, with `name`, for what is damaged and for what is not supported.
TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& name);
TokenizerParts read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path);

}  // namespace wt
