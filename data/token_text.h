// How tokens spell text: GPT-2's characters for bytes, SentencePiece's mark for blanks, and the steps that rewrite a
// text before it is cut and tokens after. Internal to the tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/tokenizer_parts.h"

namespace wt {

// All of them are below this.
constexpr char32_t kByteCharacters = 0x144;

// GPT-2's table: printable bytes stand for themselves, the others for the characters from U+0100 on.
std::array<char32_t, 256> byte_characters();

// The text after all steps. `first`: it is the beginning of what was given to encode, not what follows an added token.
// `leading_space_is_prefix`: a blank at the start is there in place of the prefix, which is then not put before it.
std::string apply_steps(const std::vector<TextStep>& steps, std::string_view text, bool first,
                        bool leading_space_is_prefix);

// Turns tokens of one vocabulary into bytes.
class TokenText {
 public:
  explicit TokenText(const Decoding& decoding);
  // The bytes that a token of the vocabulary stands for inside a text.
  std::string bytes_of(const std::string& token) const;
  // Byte-level: all its characters are ones that stand for bytes, and it not for itself.
  bool spells_bytes(const std::string& token) const;
  // The same for an added token, which stands for itself.
  std::string bytes_of_added(const std::string& token) const;

 private:
  const Decoding& decoding_;
  std::array<std::int16_t, kByteCharacters> bytes_;  // by character; -1: stands for no byte
};

// What decoding takes from the ends of a whole text.
void strip_ends(const Decoding& decoding, std::string& text);

}  // namespace wt
