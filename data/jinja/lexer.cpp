#include "data/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Line breaks as "\n", the last one dropped.
std::string normalized(const std::string& source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 == source.size() || source[i + 1] != '\n') out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(const std::string& source, const std::string& name) : source_(normalized(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = next_tag();
      const char kind = tag == std::string::npos ? ' ' : source_[tag + 1];
      add_text(tag);
      if (tag == std::string::npos) break;
      at_ = tag + 2;
      if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) ++at_;
      if (kind == '#') {
        skip_comment();
      } else if (kind == '%' && raw_follows()) {
        add_raw();
      } else {
        lex_tag(kind);
      }
    }
    push(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw Error(cat(name_, ":", line_, ": ", message)); }

  bool at(std::string_view word) const { return std::string_view(source_).substr(at_).starts_with(word); }

  void push(Token::Kind kind, std::string text = "") { tokens_.push_back({kind, std::move(text), line_, 0, 0}); }

  void advance(std::size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }

  std::size_t next_tag() const {
    for (std::size_t i = source_.find('{', at_); i != std::string::npos; i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return std::string::npos;
  }

  // The text before the tag at `tag`: "-" strips it, and blanks between a line's start and a block go too.
  std::string before_tag(std::string text, std::size_t tag) const {
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    if (sign == '-') return strip(text, nullptr, false, true);
    if (sign == '+' || source_[tag + 1] == '{') return text;
    const std::size_t line = text.rfind('\n') + 1;  // 0 where there is none
    if ((line > 0 || line_starts_) && strip(text.substr(line), nullptr, true, true).empty()) text.resize(line);
    return text;
  }

  // Up to the tag, or to the end.
  void add_text(std::size_t tag) {
    const std::size_t end = std::min(tag, source_.size());
    std::string text = source_.substr(at_, end - at_);
    if (tag != std::string::npos) text = before_tag(std::move(text), tag);
    if (!text.empty()) push(Token::Kind::kText, std::move(text));
    advance(end - at_);
  }

  // Behind a tag: "-" has taken away the blanks that follow, a block without sign one line break.
  void end_tag(char sign, bool block) {
    std::size_t end = at_;
    if (sign == '-') {
      for (std::size_t bytes = 0; end < source_.size(); end += bytes) {
        bytes = std::max<std::size_t>(utf8_length_at(source_, end), 1);
        if (utf8_length_at(source_, end) == 0 || !is_space(utf8_at(source_, end))) break;
      }
    } else if (sign != '+' && block && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    advance(end - at_);
    line_starts_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  void skip_comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("a comment {# has no end #}");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    advance(end + 2 - at_);
    end_tag(sign, true);
  }

  // "raw" and the tag's end, behind "{%".
  bool raw_follows() {
    std::size_t i = source_.find_first_not_of(" \t\n\v\f", at_);
    if (i == std::string::npos || source_.compare(i, 3, "raw") != 0) return false;
    i = source_.find_first_not_of(" \t\n\v\f", i + 3);
    if (i == std::string::npos) return false;
    const bool minus = source_[i] == '-';
    if (source_.compare(i + (minus ? 1 : 0), 2, "%}") != 0) return false;
    advance(i + (minus ? 3 : 2) - at_);
    if (minus) end_tag('-', true);
    return true;
  }

  void add_raw() {
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      std::size_t i = tag + 2;
      if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
      i = source_.find_first_not_of(" \t\n\v\f", i);
      if (i == std::string::npos || source_.compare(i, 6, "endraw") != 0) continue;
      i = source_.find_first_not_of(" \t\n\v\f", i + 6);
      if (i == std::string::npos) continue;
      const char sign = source_[i] == '-' || source_[i] == '+' ? source_[i] : ' ';
      if (source_.compare(i + (sign == ' ' ? 0 : 1), 2, "%}") != 0) continue;
      line_starts_ = source_[at_ - 1] == '\n';
      add_text(tag);
      advance(i + (sign == ' ' ? 2 : 3) - at_);
      end_tag(sign, true);
      return;
    }
    fail("{% raw %} has no {% endraw %}");
  }

  void lex_tag(char kind) {
    const bool output = kind == '{';
    push(output ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin);
    const std::string end = output ? "}}" : "%}";
    std::string open;  // brackets
    while (true) {
      while (at_ < source_.size() && is_blank(source_[at_])) advance(1);
      if (at_ >= source_.size()) fail(cat("a tag has no end ", end));
      if (open.empty()) {
        const char sign = source_[at_] == '-' || (source_[at_] == '+' && !output) ? source_[at_] : ' ';
        if (at(end) || (sign != ' ' && source_.compare(at_ + 1, 2, end) == 0)) {
          push(output ? Token::Kind::kOutputEnd : Token::Kind::kBlockEnd);
          advance(sign == ' ' || at(end) ? 2 : 3);
          return end_tag(sign, !output);
        }
      }
      lex_token(open);
    }
  }

  static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  void lex_token(std::string& open) {
    const char c = source_[at_];
    if (begins_name(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
      push(Token::Kind::kName, source_.substr(at_, end - at_));
      at_ = end;
    } else if (is_digit(c)) {
      lex_number();
    } else if (c == '"' || c == '\'') {
      lex_string(c);
    } else {
      lex_operator(open);
    }
  }

  void lex_number() {
    std::size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    digits();
    bool real = false;
    // A number behind a "." is an index: x.0.1
    const bool index = !tokens_.empty() && tokens_.back().kind == Token::Kind::kOperator && tokens_.back().text == ".";
    if (!index && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      ++end;
      digits();
    }
    if (!index && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const std::size_t sign = end + 1 < source_.size() && (source_[end + 1] == '-' || source_[end + 1] == '+') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        real = true;
        end += 1 + sign;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    push(real ? Token::Kind::kFloat : Token::Kind::kInteger, text);
    const auto read = [&](auto& value) {
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
      if (result.ec != std::errc() || result.ptr != text.data() + text.size()) fail(cat("the number ", text));
    };
    if (real) {
      read(tokens_.back().real);
    } else {
      if (text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos) {
        fail(cat("the number ", text, " begins with 0"));
      }
      read(tokens_.back().integer);
    }
    if (end < source_.size() && begins_name(source_[end])) fail(cat("the number ", text, source_[end]));
    at_ = end;
  }

  void lex_string(char quote) {
    const int line = line_;
    std::string text;
    std::size_t i = at_ + 1;
    while (true) {
      if (i >= source_.size()) fail("a string has no end");
      const char c = source_[i];
      if (c == quote) break;
      if (c == '\\' && i + 1 < source_.size()) {
        i = unescape(i + 1, text);
      } else {
        text += c;
        ++i;
      }
    }
    advance(i + 1 - at_);
    push(Token::Kind::kString, std::move(text));
    tokens_.back().line = line;
  }

  // What stands behind the backslash before `i`; returns where the text goes on.
  std::size_t unescape(std::size_t i, std::string& out) const {
    const char c = source_[i];
    constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeant = "\a\b\f\n\r\t\v\\'\"";
    if (const std::size_t known = kLetters.find(c); known != std::string_view::npos) {
      out += kMeant[known];
      return i + 1;
    }
    if (c == '\n') return i + 1;
    if (c >= '0' && c <= '7') {
      unsigned value = 0;
      const std::size_t end = std::min(i + 3, source_.size());
      for (; i < end && source_[i] >= '0' && source_[i] <= '7'; ++i) {
        value = 8 * value + static_cast<unsigned>(source_[i] - '0');
      }
      append_utf8(out, value);
      return i;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      const std::string text = source_.substr(i + 1, digits);
      std::uint32_t value = 0;
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
      const bool whole = text.size() == digits && result.ptr == text.data() + text.size();
      if (!whole || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        fail(cat("the escape \\", printable_line(source_.substr(i, digits + 1))));
      }
      append_utf8(out, value);
      return i + 1 + digits;
    }
    if (c == 'N') fail("the escape \\N{…} is not supported, write \\uXXXX");
    out += '\\';  // as in Python, others stand for themselves
    return i;
  }

  void lex_operator(std::string& open) {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                               "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};
    for (const std::string_view op : kOperators) {
      if (!at(op)) continue;
      const char c = op[0];
      if (c == '(' || c == '[' || c == '{') open += c;
      if (c == ')' || c == ']' || c == '}') {
        const char wanted = c == ')' ? '(' : c == ']' ? '[' : '{';
        if (open.empty() || open.back() != wanted) fail(cat("a ", c, " without ", wanted));
        open.pop_back();
      }
      push(Token::Kind::kOperator, std::string(op));
      at_ += op.size();
      return;
    }
    const std::size_t bytes = std::max<std::size_t>(utf8_length_at(source_, at_), 1);
    fail(cat("unexpected character ", printable_line(source_.substr(at_, bytes))));
  }

  const std::string source_;
  const std::string& name_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
};

}  // namespace

std::vector<Token> lex(const std::string& source, const std::string& name) {
  return Lexer(source, name).run();
}

}  // namespace wt::jinja
