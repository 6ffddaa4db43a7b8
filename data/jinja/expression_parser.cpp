#include "data/jinja/expression_parser.h"

#include <algorithm>

namespace wt::jinja {
namespace {

using Kind = Token::Kind;

// Going through a tree calls itself as often as the tree is deep.
constexpr int kDeepest = 150;

template <class... Nodes>
int deepest(const Nodes&... nodes) {
  int depth = 0;
  ((depth = std::max(depth, nodes == nullptr ? 0 : nodes->depth)), ...);
  return depth;
}

int deepest_of(const CallArguments& arguments) {
  int depth = 0;
  for (const Node& node : arguments.positional) depth = std::max(depth, deepest(node));
  for (const auto& [name, node] : arguments.named) depth = std::max(depth, deepest(node));
  depth = std::max(depth, deepest(arguments.spread, arguments.spread_named));
  return depth;
}

int deepest_of(const std::vector<Node>& nodes) {
  int depth = 0;
  for (const Node& node : nodes) depth = std::max(depth, deepest(node));
  return depth;
}

}  // namespace

// Brackets, "not" and "-" in each other make the parser call itself before there is a tree to measure.
class ExpressionParser::Nesting {
 public:
  explicit Nesting(ExpressionParser& parser) : parser_(parser) {
    if (parser_.nesting_ >= kDeepest) parser_.tokens_.fail("the expression nests too deep");
    ++parser_.nesting_;
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  ExpressionParser& parser_;
};

template <class NodeKind>
Node ExpressionParser::make(NodeKind node, int line, int deepest) {
  if (deepest >= kDeepest) tokens_.fail_at(line, "the expression nests too deep");
  return std::make_unique<Expression>(Expression{std::move(node), line, deepest + 1});
}

Node ExpressionParser::binary(Node left, const std::string& op, Node right, int line) {
  const int depth = deepest(left, right);
  return make(Binary{op, std::move(left), std::move(right)}, line, depth);
}

Node ExpressionParser::expression() {
  const Nesting nesting(*this);
  Node then = either();
  while (tokens_.is_word("if")) {
    const int line = tokens_.take().line;
    Node condition = either();
    Node otherwise = tokens_.skip_word("else") ? expression() : nullptr;
    const int depth = deepest(then, condition, otherwise);
    then = make(Choice{std::move(condition), std::move(then), std::move(otherwise)}, line, depth);
  }
  return then;
}

Node ExpressionParser::expression_without_if() {
  const Nesting nesting(*this);
  return either();
}

Node ExpressionParser::either() {
  Node left = both();
  while (tokens_.is_word("or")) {
    const int line = tokens_.take().line;
    left = binary(std::move(left), "or", both(), line);
  }
  return left;
}

Node ExpressionParser::both() {
  Node left = negation();
  while (tokens_.is_word("and")) {
    const int line = tokens_.take().line;
    left = binary(std::move(left), "and", negation(), line);
  }
  return left;
}

Node ExpressionParser::negation() {
  if (!tokens_.is_word("not")) return comparison();
  const Nesting nesting(*this);
  const int line = tokens_.take().line;
  Node value = negation();
  const int depth = deepest(value);
  return make(Unary{"not", std::move(value)}, line, depth);
}

Node ExpressionParser::comparison() {
  const int line = tokens_.line();
  Node first = sum();
  std::vector<std::pair<std::string, Node>> rest;
  int depth = deepest(first);
  while (true) {
    std::string op;
    for (const char* known : {"==", "!=", "<", "<=", ">", ">="}) {
      if (tokens_.is_operator(known)) op = known;
    }
    if (tokens_.is_word("in")) op = "in";
    if (tokens_.is_word("not") && tokens_.is_word("in", 1)) {
      op = "not in";
      tokens_.take();
    }
    if (op.empty()) break;
    tokens_.take();
    rest.emplace_back(op, sum());
    depth = std::max(depth, deepest(rest.back().second));
  }
  if (rest.empty()) return first;
  return make(Comparison{std::move(first), std::move(rest)}, line, depth);
}

Node ExpressionParser::sum() {
  Node left = joined();
  while (tokens_.is_operator("+") || tokens_.is_operator("-")) {
    const Token op = tokens_.take();
    left = binary(std::move(left), op.text, joined(), op.line);
  }
  return left;
}

Node ExpressionParser::joined() {
  const int line = tokens_.line();
  std::vector<Node> parts;
  parts.push_back(product());
  while (tokens_.skip_operator("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts.front());
  const int depth = deepest_of(parts);
  return make(Joined{std::move(parts)}, line, depth);
}

Node ExpressionParser::product() {
  Node left = power();
  while (tokens_.is_operator("*") || tokens_.is_operator("/") || tokens_.is_operator("//") ||
         tokens_.is_operator("%")) {
    const Token op = tokens_.take();
    left = binary(std::move(left), op.text, power(), op.line);
  }
  return left;
}

Node ExpressionParser::power() {
  Node left = unary(true);
  while (tokens_.is_operator("**")) {
    const int line = tokens_.take().line;
    left = binary(std::move(left), "**", unary(true), line);
  }
  return left;
}

Node ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(*this);
  Node node;
  if (tokens_.is_operator("-") || tokens_.is_operator("+")) {
    const Token op = tokens_.take();
    Node value = unary(false);
    const int depth = deepest(value);
    node = make(Unary{op.text, std::move(value)}, op.line, depth);
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
}

Node ExpressionParser::primary() {
  if (tokens_.is_operator("(")) return parenthesised();
  if (tokens_.is_operator("[")) return list();
  if (tokens_.is_operator("{")) return dict();
  const int line = tokens_.line();
  switch (tokens_.peek().kind) {
    case Kind::kName: {
      const std::string name = tokens_.take().text;
      if (name == "true" || name == "True") return make(Constant{Value(true)}, line, 0);
      if (name == "false" || name == "False") return make(Constant{Value(false)}, line, 0);
      if (name == "none" || name == "None") return make(Constant{Value()}, line, 0);
      return make(Name{name}, line, 0);
    }
    case Kind::kString: {
      std::string text = tokens_.take().text;
      while (tokens_.is(Kind::kString)) text += tokens_.take().text;
      return make(Constant{Value(std::move(text))}, line, 0);
    }
    case Kind::kInteger:
      return make(Constant{Value(tokens_.take().integer)}, line, 0);
    case Kind::kFloat:
      return make(Constant{Value(tokens_.take().real)}, line, 0);
    default:
      tokens_.fail(cat("expected an expression, not ", tokens_.found()));
  }
}

Node ExpressionParser::tuple(bool with_if) {
  const int line = tokens_.line();
  std::vector<Node> items;
  bool comma = false;
  do {
    // A comma may stand behind the last one.
    if (comma && (tokens_.is(Kind::kBlockEnd) || tokens_.is(Kind::kOutputEnd) || tokens_.is_operator(")"))) break;
    items.push_back(with_if ? expression() : expression_without_if());
    comma = tokens_.skip_operator(",");
  } while (comma);
  if (items.size() == 1 && !comma) return std::move(items.front());
  const int depth = deepest_of(items);
  return make(ListOf{std::move(items), true}, line, depth);
}

Node ExpressionParser::parenthesised() {
  const int line = tokens_.take().line;
  if (tokens_.skip_operator(")")) return make(ListOf{{}, true}, line, 0);
  Node inside = tuple();
  tokens_.expect_operator(")");
  return inside;
}

Node ExpressionParser::list() {
  const int line = tokens_.take().line;
  std::vector<Node> items;
  while (!tokens_.is_operator("]")) {
    items.push_back(expression());
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator("]");
  const int depth = deepest_of(items);
  return make(ListOf{std::move(items), false}, line, depth);
}

Node ExpressionParser::dict() {
  const int line = tokens_.take().line;
  DictOf made;
  int depth = 0;
  while (!tokens_.is_operator("}")) {
    Node key = expression();
    tokens_.expect_operator(":");
    Node value = expression();
    depth = std::max(depth, deepest(key, value));
    made.entries.emplace_back(std::move(key), std::move(value));
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator("}");
  return make(std::move(made), line, depth);
}

Node ExpressionParser::postfix(Node node) {
  while (true) {
    const int line = tokens_.line();
    if (tokens_.is_operator(".") || tokens_.is_operator("[")) {
      node = subscript(std::move(node));
    } else if (tokens_.is_operator("(")) {
      CallArguments given = arguments();
      const int depth = std::max(deepest(node), deepest_of(given));
      node = make(Call{std::move(node), std::move(given)}, line, depth);
    } else {
      return node;
    }
  }
}

Node ExpressionParser::postfixed() {
  return postfix(primary());
}

Node ExpressionParser::subscript(Node node) {
  const int line = tokens_.line();
  int depth = deepest(node);
  if (tokens_.skip_operator(".")) {
    if (tokens_.is(Kind::kInteger)) {
      Node key = make(Constant{Value(tokens_.take().integer)}, line, 0);
      return make(Item{std::move(node), std::move(key)}, line, depth);
    }
    return make(Attribute{std::move(node), tokens_.expect_name()}, line, depth);
  }
  tokens_.expect_operator("[");
  Node parts[3];
  int colons = 0;
  while (!tokens_.is_operator("]")) {
    if (tokens_.is_operator(":") && colons < 2) {
      tokens_.take();
      ++colons;
    } else if (parts[colons] == nullptr) {
      parts[colons] = expression();
    } else {
      break;
    }
  }
  tokens_.expect_operator("]");
  depth = std::max(depth, deepest(parts[0], parts[1], parts[2]));
  if (colons > 0) {
    return make(Slice{std::move(node), std::move(parts[0]), std::move(parts[1]), std::move(parts[2])}, line, depth);
  }
  if (parts[0] == nullptr) tokens_.fail_at(line, "expected an index between [ and ]");
  return make(Item{std::move(node), std::move(parts[0])}, line, depth);
}

CallArguments ExpressionParser::arguments() {
  CallArguments made;
  tokens_.expect_operator("(");
  while (!tokens_.is_operator(")")) {
    if (tokens_.is_operator("*") || tokens_.is_operator("**")) {
      Node& spread = tokens_.take().text == "*" ? made.spread : made.spread_named;
      if (spread != nullptr) tokens_.fail("a second * or ** among the arguments");
      spread = expression();
    } else if (tokens_.is(Kind::kName) && tokens_.is_operator("=", 1)) {
      std::string name = tokens_.take().text;
      tokens_.take();
      made.named.emplace_back(std::move(name), expression());
    } else {
      if (!made.named.empty() || made.spread != nullptr)
        tokens_.fail("an argument without a name stands behind one with a name");
      made.positional.push_back(expression());
    }
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator(")");
  return made;
}

std::string ExpressionParser::dotted_name() {
  std::string name = tokens_.expect_name();
  while (tokens_.skip_operator(".")) name += "." + tokens_.expect_name();
  return name;
}

Node ExpressionParser::filter(Node value) {
  Filter made;
  const int line = tokens_.line();
  made.name = dotted_name();
  if (tokens_.is_operator("(")) made.arguments = arguments();
  const int depth = std::max(deepest(value), deepest_of(made.arguments));
  made.value = std::move(value);
  return make(std::move(made), line, depth);
}

std::vector<Node> ExpressionParser::filters(bool needs_pipe) {
  std::vector<Node> made;
  if (!needs_pipe) made.push_back(filter(nullptr));
  while (tokens_.skip_operator("|")) made.push_back(filter(nullptr));
  return made;
}

Node ExpressionParser::test(Node value) {
  Test made;
  const int line = tokens_.take().line;
  made.negated = tokens_.skip_word("not");
  made.name = dotted_name();
  const Kind next = tokens_.peek().kind;
  const bool begins_value = next == Kind::kString || next == Kind::kInteger || next == Kind::kFloat ||
                            tokens_.is_operator("[") || tokens_.is_operator("{") || next == Kind::kName;
  const auto word = [&](const char* name) { return tokens_.is_word(name); };
  // "if" ends a test, which Jinja leaves to its list of operators; so do "in" and "not".
  const bool ends = word("else") || word("or") || word("and") || word("if") || word("in") || word("not");
  if (tokens_.is_operator("(")) {
    made.arguments = arguments();
  } else if (begins_value && !ends) {
    if (word("is")) tokens_.fail("tests cannot be chained with is");
    made.arguments.positional.push_back(postfix(primary()));
  }
  const int depth = std::max(deepest(value), deepest_of(made.arguments));
  made.value = std::move(value);
  return make(std::move(made), line, depth);
}

Node ExpressionParser::filters_and_tests(Node node) {
  while (true) {
    const int line = tokens_.line();
    if (tokens_.skip_operator("|")) {
      node = filter(std::move(node));
    } else if (tokens_.is_word("is")) {
      node = test(std::move(node));
    } else if (tokens_.is_operator("(")) {
      CallArguments given = arguments();
      const int depth = std::max(deepest(node), deepest_of(given));
      node = make(Call{std::move(node), std::move(given)}, line, depth);
    } else {
      return node;
    }
  }
}

}  // namespace wt::jinja
