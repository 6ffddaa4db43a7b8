// The tokens of a tokenizer, by id and by text, and what byte-pair encoding needs to know of them. Internal to the
// tokenizer.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_pair_encoder.h"
#include "data/fingerprint.h"
#include "data/token_table.h"
#include "data/tokenizer_parts.h"

namespace wt {

class Vocabulary {
 public:
  struct Token {
    std::string text;   // as the file spells it
    std::string bytes;  // what it decodes to
    bool exists = false, in_vocabulary = false, special = false;
  };

  // Takes `parts.lists.vocab`. Throws Error, naming the token, where two have one id or one text, and for ids far above
  // the number of tokens.
  explicit Vocabulary(TokenizerParts& parts);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  // Highest id + 1.
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  // Null for an id that is no token.
  const Token* find(std::int32_t id) const;
  std::optional<std::int32_t> id_of(std::string_view text) const { return by_text_.find(text); }
  // The token that a piece of text is as a whole. Only with parts.ignore_merges; else always nullopt.
  std::optional<std::int32_t> whole_piece(std::string_view piece) const { return by_piece_.find(piece); }

  // Throws Error for a rule with a token that is not there.
  std::vector<MergeRule> merge_rules(const TokenizerParts& parts) const;
  Alphabet alphabet(const TokenizerParts& parts) const;
  void add_to(Fingerprint& hash) const;

 private:
  void add_vocabulary(TokenizerParts& parts);
  void add_added_tokens(const TokenizerParts& parts);
  void add_pieces(const TokenizerParts& parts);

  std::vector<Token> tokens_;  // by id
  TokenTable by_text_, by_piece_;
  std::deque<std::string> pieces_;  // where they are no token's `bytes`
};

// How an added token is looked for in a text: in a normalized one, as the normalizer leaves it.
std::string text_of_added(const AddedToken& added, const TokenizerParts& parts);

}  // namespace wt
