// A pattern in Oniguruma's syntax, read from left to right: its characters, escapes and named sets. Internal to
// data/oniguruma.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace wt {

class OnigurumaReader {
 public:
  static constexpr int kMostTimes = 65535;  // in {n,m}, as PCRE2 has it

  // A character, or several of them.
  struct Item {
    char32_t code = 0;
    std::string members = {};  // as PCRE2 has them between brackets; "": the character
    bool negated = false;
  };

  // Throws Error where it is not UTF-8.
  explicit OnigurumaReader(std::string_view pattern);

  static bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static Item character(char32_t code) { return {code, "", false}; }
  [[noreturn]] static void unsupported(std::string_view what, std::size_t where);

  bool at_end() const { return at_ >= pattern_.size(); }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool take(std::string_view text);
  char32_t take_character();
  // Digits, above kMostTimes that + 1; nullopt where none are next.
  std::optional<int> number();
  // What stands behind "\\" at `begin`.
  Item escape(std::size_t begin, bool in_class);
  // "[:alpha:]" or "[:^alpha:]".
  Item posix();

 protected:
  std::string_view pattern_;
  std::size_t at_ = 0;

 private:
  // Behind "\\x" or "\\u": {10FFFF}, two digits of one byte, or four.
  char32_t code_point(bool four, std::size_t begin);
  // Behind "\\p" or "\\P".
  Item property(bool negated, std::size_t begin);
};

}  // namespace wt
