#include "data/oniguruma_reader.h"

#include <algorithm>

#include "core/error.h"
#include "core/utf8.h"
#include "data/oniguruma_sets.h"

namespace wt {

OnigurumaReader::OnigurumaReader(std::string_view pattern) : pattern_(pattern) {
  if (utf8_valid_until(pattern, 0) != pattern.size()) throw Error("it is not UTF-8");
}

bool OnigurumaReader::take(std::string_view text) {
  if (!next_is(text)) return false;
  at_ += text.size();
  return true;
}

char32_t OnigurumaReader::take_character() {
  const char32_t c = utf8_at(pattern_, at_);
  at_ += utf8_length_at(pattern_, at_);
  return c;
}

void OnigurumaReader::unsupported(std::string_view what, std::size_t where) {
  throw Error(cat(what, " at byte ", where, " is not supported"));
}

std::optional<int> OnigurumaReader::number() {
  if (at_end() || !is_digit(static_cast<unsigned char>(pattern_[at_]))) return std::nullopt;
  int value = 0;
  for (; !at_end() && is_digit(static_cast<unsigned char>(pattern_[at_])); ++at_) {
    value = std::min(value * 10 + (pattern_[at_] - '0'), kMostTimes + 1);
  }
  return value;
}

OnigurumaReader::Item OnigurumaReader::escape(std::size_t begin, bool in_class) {
  if (at_end()) unsupported("\\ at the end", begin);
  const char32_t c = take_character();
  constexpr std::string_view kNames = "tnvfrae", kControls = "\t\n\v\f\r\a\x1B";
  if (c < 0x80) {
    if (const std::size_t i = kNames.find(static_cast<char>(c)); i != std::string_view::npos) {
      return character(static_cast<char32_t>(kControls[i]));
    }
  }
  const bool negated = c >= 'A' && c <= 'Z';
  switch (c | 0x20) {
    case 'd':
      return {0, kDigit, negated};
    case 's':
      return {0, kWhiteSpace, negated};
    case 'h':
      return {0, kHexDigit, negated};
    case 'w':
      return {0, in_class ? kWord : kWordAlone, negated};
    case 'p':
      return property(negated, begin);
    default:
      if (c == 'x' || c == 'u') return character(code_point(c == 'u', begin));
      if (in_class && c == 'b') return character('\b');
      if (is_letter(c) || is_digit(c)) unsupported(cat("\\", static_cast<char>(c)), begin);
      return character(c);
  }
}

char32_t OnigurumaReader::code_point(bool four, std::size_t begin) {
  const bool braces = !four && take("{");
  const std::size_t most = braces ? 8 : four ? 4 : 2;
  char32_t code = 0;
  std::size_t count = 0;
  for (; count < most && !at_end(); ++count, ++at_) {
    const char c = pattern_[at_];
    const bool digit = is_digit(static_cast<unsigned char>(c));
    if (!digit && (c < 'a' || c > 'f') && (c < 'A' || c > 'F')) break;
    code = code * 16 + static_cast<char32_t>(digit ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  const bool whole = braces ? count > 0 && take("}") : count == most;
  // \xE9 is a byte, a part of a character.
  const bool fits = braces || four ? code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) : code < 0x80;
  if (!whole || !fits) unsupported(pattern_.substr(begin, at_ - begin), begin);
  return code;
}

OnigurumaReader::Item OnigurumaReader::property(bool negated, std::size_t begin) {
  const std::size_t end = pattern_.find('}', at_);
  if (!take("{") || end == std::string_view::npos) unsupported("\\p without {name}", begin);
  if (take("^")) negated = !negated;
  const std::string_view name = pattern_.substr(at_, end - at_);
  at_ = end + 1;
  if (const auto members = property_members(name)) return {0, *members, negated};
  unsupported(pattern_.substr(begin, at_ - begin), begin);
}

OnigurumaReader::Item OnigurumaReader::posix() {
  const std::size_t begin = at_, end = pattern_.find(":]", at_ + 2);
  take("[:");
  const bool negated = take("^");
  const std::string_view name = end == std::string_view::npos ? "" : pattern_.substr(at_, end - at_);
  at_ = end == std::string_view::npos ? at_ : end + 2;
  if (const auto members = posix_members(name)) return {0, *members, negated};
  unsupported(pattern_.substr(begin, at_ - begin), begin);
}

}  // namespace wt
