#include "data/jinja/parser.h"

#include <initializer_list>
#include <utility>

#include "data/jinja/expression_parser.h"

namespace wt::jinja {
namespace {

using Kind = Token::Kind;

class Parser {
 public:
  Parser(const std::vector<Token>& tokens, const std::string& name) : tokens_(tokens, name), expressions_(tokens_) {}

  Block run() {
    Block block = block_until({});
    if (!tokens_.is(Kind::kEnd)) tokens_.fail(cat("unexpected ", tokens_.found()));
    return block;
  }

 private:
  // Statements up to a tag that begins with one of `ends`, of which {% and the word are taken; without any, up to the
  // end of the template.
  Block block_until(std::initializer_list<const char*> ends) {
    constexpr int kDeepest = 60;
    if (++nesting_ > kDeepest) tokens_.fail("blocks nest too deep");
    Block block;
    while (true) {
      const int line = tokens_.line();
      if (tokens_.is(Kind::kEnd)) {
        if (ends.size() > 0) tokens_.fail(cat("the template ends before {% ", *(ends.end() - 1), " %}"));
        break;
      }
      if (tokens_.is(Kind::kText)) {
        block.push_back({Text{tokens_.take().text}, line});
      } else if (tokens_.is(Kind::kOutputBegin)) {
        tokens_.take();
        Output output;
        output.values.push_back(expressions_.tuple());
        tokens_.expect(Kind::kOutputEnd, "}}");
        block.push_back({std::move(output), line});
      } else {
        tokens_.expect(Kind::kBlockBegin, "{%");
        const std::string word = tokens_.expect_name();
        bool ended = false;
        for (const char* end : ends) ended = ended || word == end;
        if (ended) {
          ended_by_ = word;
          break;
        }
        block.push_back(statement(word, line));
      }
    }
    --nesting_;
    return block;
  }

  void end_tag() { tokens_.expect(Kind::kBlockEnd, "%}"); }

  Block body_until(const char* end) {
    end_tag();
    Block block = block_until({end});
    end_tag();
    return block;
  }

  Statement statement(const std::string& word, int line) {
    if (word == "if") return {parse_if(), line};
    if (word == "for") return {parse_for(), line};
    if (word == "set") return {parse_set(), line};
    if (word == "with") return {parse_with(), line};
    if (word == "macro") return {parse_macro(), line};
    if (word == "call") return {parse_call(), line};
    if (word == "filter") {
      FilterBlock made;
      made.filters = expressions_.filters(false);
      made.body = body_inside("endfilter");
      return {std::move(made), line};
    }
    if (word == "print") {
      Output made;
      while (true) {
        made.values.push_back(expressions_.expression());
        if (!tokens_.skip_operator(",")) break;
      }
      end_tag();
      return {std::move(made), line};
    }
    if (word == "generation") return {Generation{body_inside("endgeneration")}, line};
    if (word == "break" || word == "continue") {
      if (loops_ == 0) tokens_.fail_at(line, cat("{% ", word, " %} outside of a loop"));
      end_tag();
      if (word == "break") return {Break{}, line};
      return {Continue{}, line};
    }
    tokens_.fail_at(line, cat("the tag {% ", word, " %} is not known in chat templates"));
  }

  // A body that is a function of its own: what is around it cannot be left from inside.
  Block body_inside(const char* end) {
    const int outer = std::exchange(loops_, 0);
    Block body = body_until(end);
    loops_ = outer;
    return body;
  }

  If parse_if() {
    If made;
    do {
      Node condition = expressions_.tuple(/*with_if=*/false);
      end_tag();
      made.branches.emplace_back(std::move(condition), block_until({"elif", "else", "endif"}));
    } while (ended_by_ == "elif");
    if (ended_by_ == "else") {
      end_tag();
      made.otherwise = block_until({"endif"});
    }
    end_tag();
    return made;
  }

  For parse_for() {
    For made;
    made.target = target(/*with_namespace=*/false);
    tokens_.expect_word("in");
    made.over = expressions_.tuple(/*with_if=*/false);
    if (tokens_.skip_word("if")) made.filter = expressions_.expression();
    if (tokens_.is_word("recursive")) tokens_.fail("recursive loops are not supported");
    end_tag();
    ++loops_;
    made.body = block_until({"else", "endfor"});
    --loops_;
    if (ended_by_ == "else") {
      end_tag();
      made.otherwise = block_until({"endfor"});
    }
    end_tag();
    return made;
  }

  Target target(bool with_namespace) {
    Target made;
    if (with_namespace && tokens_.is(Kind::kName) && tokens_.is_operator(".", 1)) {
      made.name_space = tokens_.expect_name();
      tokens_.take();
      made.names = {tokens_.expect_name()};
      return made;
    }
    const bool brackets = tokens_.skip_operator("(");
    do {
      if (!made.names.empty() && (!tokens_.is(Kind::kName) || tokens_.is_word("in"))) break;  // (a,)
      const int line = tokens_.line();
      const std::string name = tokens_.expect_name();
      for (const char* taken : {"true", "false", "none", "True", "False", "None"}) {
        if (name == taken) tokens_.fail_at(line, cat("cannot assign to ", name));
      }
      made.names.push_back(name);
      if (tokens_.is_operator(",")) made.unpacks = true;
    } while (tokens_.skip_operator(","));
    if (brackets) tokens_.expect_operator(")");
    return made;
  }

  Set parse_set() {
    Set made;
    made.target = target(/*with_namespace=*/true);
    if (tokens_.skip_operator("=")) {
      made.value = expressions_.tuple();
      end_tag();
      return made;
    }
    made.filters = expressions_.filters(true);
    made.body = body_inside("endset");
    return made;
  }

  With parse_with() {
    With made;
    while (!tokens_.is(Kind::kBlockEnd)) {
      if (!made.values.empty()) tokens_.expect_operator(",");
      std::string name = tokens_.expect_name();
      tokens_.expect_operator("=");
      made.values.emplace_back(std::move(name), expressions_.expression());
    }
    made.body = body_until("endwith");
    return made;
  }

  std::vector<Parameter> parameters() {
    std::vector<Parameter> made;
    tokens_.expect_operator("(");
    while (!tokens_.is_operator(")")) {
      if (!made.empty()) tokens_.expect_operator(",");
      Parameter parameter{tokens_.expect_name(), nullptr};
      if (tokens_.skip_operator("=")) {
        parameter.standard = expressions_.expression();
      } else if (!made.empty() && made.back().standard != nullptr) {
        tokens_.fail("a parameter without a default stands behind one with a default");
      }
      made.push_back(std::move(parameter));
    }
    tokens_.expect_operator(")");
    return made;
  }

  Macro parse_macro() {
    Macro made;
    made.name = tokens_.expect_name();
    made.parameters = parameters();
    made.body = body_inside("endmacro");
    return made;
  }

  CallBlock parse_call() {
    CallBlock made;
    made.caller.name = "caller";
    if (tokens_.is_operator("(")) made.caller.parameters = parameters();
    const int line = tokens_.line();
    made.call = expressions_.postfixed();
    if (!std::holds_alternative<Call>(made.call->node)) tokens_.fail_at(line, "expected a call: {% call macro() %}");
    made.caller.body = body_inside("endcall");
    return made;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::string ended_by_;
  int nesting_ = 0;
  int loops_ = 0;  // around the statement that is parsed, inside its function
};

}  // namespace

Block parse(const std::vector<Token>& tokens, const std::string& name) {
  return Parser(tokens, name).run();
}

}  // namespace wt::jinja
