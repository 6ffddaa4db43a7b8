// The parser's part for expressions.
#pragma once

#include <string>

#include "data/jinja/ast.h"
#include "data/jinja/token_stream.h"

namespace wt::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Node expression();                           // with "a if b else c"
  Node expression_without_if();                // for x in HERE if …
  Node tuple(bool with_if = true);             // a, b, c without brackets: a tuple; a alone: itself
  std::vector<Node> filters(bool needs_pipe);  // a | b | c, without a value in front
  CallArguments arguments();                   // (a, b=c)
  Node postfixed();                            // a name with its calls, for {% call %}

 private:
  class Nesting;

  // `deepest`: the depth of the deepest tree below.
  template <class Kind>
  Node make(Kind node, int line, int deepest);
  Node binary(Node left, const std::string& op, Node right, int line);

  Node either();
  Node both();
  Node negation();
  Node comparison();
  Node sum();
  Node joined();
  Node product();
  Node power();
  Node unary(bool with_filters);
  Node primary();
  Node parenthesised();
  Node list();
  Node dict();
  Node postfix(Node node);
  Node subscript(Node node);
  Node filters_and_tests(Node node);
  Node filter(Node value);
  Node test(Node value);
  std::string dotted_name();

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace wt::jinja
