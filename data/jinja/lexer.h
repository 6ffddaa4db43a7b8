// Template text -> tokens, with the whitespace rules of the environment that chat templates are written for: blocks on
// lines of their own leave no line (trim_blocks, lstrip_blocks), "-" takes all blanks away and "+" keeps them, one line
// break at the very end is dropped, and every line break is "\n". Source: Jinja 3.1's documentation of templates, and
// how its lexer behaves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wt::jinja {

struct Token {
  enum class Kind : std::uint8_t {
    kText,         // outside of all tags
    kBlockBegin,   // {%
    kBlockEnd,     // %}
    kOutputBegin,  // {{
    kOutputEnd,    // }}
    kName,         // also the words: if, in, not, …
    kString,       // `text` is what it means
    kInteger,
    kFloat,
    kOperator,  // `text` is it
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 0;
  std::int64_t integer = 0;
  double real = 0;
};

// The last one is kEnd. Throws Error "NAME:LINE: …" for what is no token, a string, tag or comment without its end, and
// braces that do not match.
std::vector<Token> lex(const std::string& source, const std::string& name);

}  // namespace wt::jinja
