// UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wt {

// Length in bytes (1 ... 4) of the valid character that starts at `position`; 0 where none does.
std::size_t utf8_length_at(std::string_view text, std::size_t position);
// The first position >= `position` where no valid character starts; text.size() where all is valid.
std::size_t utf8_valid_until(std::string_view text, std::size_t position);
// The character at `position`, which must be a valid one.
char32_t utf8_at(std::string_view text, std::size_t position);
void append_utf8(std::string& out, char32_t character);
// Every byte that belongs to no valid character replaced by U+FFFD.
std::string utf8_repaired(std::string_view text);

}  // namespace wt
