// The tokens of a template as a parser looks at them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "data/jinja/lexer.h"

namespace wt::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  const Token& peek(std::size_t ahead = 0) const {
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead] : tokens_.back();
  }
  Token take() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is(Token::Kind kind) const { return peek().kind == kind; }
  bool is_operator(std::string_view op, std::size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::kOperator && peek(ahead).text == op;
  }
  bool is_word(std::string_view word, std::size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::kName && peek(ahead).text == word;
  }
  bool skip_operator(std::string_view op) { return skip_if(is_operator(op)); }
  bool skip_word(std::string_view word) { return skip_if(is_word(word)); }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op)) fail(cat("expected ", op, ", not ", found()));
  }
  void expect_word(std::string_view word) {
    if (!skip_word(word)) fail(cat("expected ", word, ", not ", found()));
  }
  void expect(Token::Kind kind, std::string_view what) {
    if (!skip_if(is(kind))) fail(cat("expected ", what, ", not ", found()));
  }
  std::string expect_name() {
    if (!is(Token::Kind::kName)) fail(cat("expected a name, not ", found()));
    return take().text;
  }

  int line() const { return peek().line; }
  // The token that stands here, for messages.
  std::string found() const {
    switch (peek().kind) {
      case Token::Kind::kText:
        return "text";
      case Token::Kind::kBlockBegin:
        return "{%";
      case Token::Kind::kBlockEnd:
        return "%}";
      case Token::Kind::kOutputBegin:
        return "{{";
      case Token::Kind::kOutputEnd:
        return "}}";
      case Token::Kind::kEnd:
        return "the end of the template";
      case Token::Kind::kString:
        return "a string";
      default:
        return peek().text;
    }
  }
  [[noreturn]] void fail(const std::string& message) const { fail_at(line(), message); }
  [[noreturn]] void fail_at(int line, const std::string& message) const {
    throw Error(cat(name_, ":", line, ": ", printable_line(message)));
  }

 private:
  bool skip_if(bool found) {
    if (found && at_ + 1 < tokens_.size()) ++at_;
    return found;
  }

  std::vector<Token> tokens_;
  const std::string& name_;
  std::size_t at_ = 0;
};

}  // namespace wt::jinja
