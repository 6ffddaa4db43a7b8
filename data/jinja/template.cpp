#include "data/jinja/template.h"

#include "core/error.h"
#include "data/jinja/evaluate.h"
#include "data/jinja/lexer.h"
#include "data/jinja/parser.h"

namespace wt::jinja {
namespace {

std::size_t text_bytes(const Value& value) {
  std::size_t bytes = 0;
  if (value.is_text()) bytes = value.text().size();
  if (value.is_list()) {
    for (const Value& item : value.items()) bytes += text_bytes(item);
  }
  if (value.is(Value::Kind::kDict)) {
    for (const auto& [key, item] : value.entries()) bytes += text_bytes(key) + text_bytes(item);
  }
  return bytes;
}

}  // namespace

struct Template::Parsed {
  std::string name, literals;
  Block block;
};

Template Template::parse(const std::string& source, const std::string& name) {
  constexpr std::size_t kLongest = std::size_t{1} << 20;
  WT_CHECK(source.size() <= kLongest, name, ": the template is longer than ", kLongest, " bytes");
  auto parsed = std::make_shared<Parsed>();
  parsed->name = name;
  const std::vector<Token> tokens = lex(source, name);
  for (const Token& token : tokens) {
    if (token.kind != Token::Kind::kText && token.kind != Token::Kind::kString) continue;
    parsed->literals += token.text;
    parsed->literals += '\0';
  }
  parsed->block = jinja::parse(tokens, name);
  return Template(std::move(parsed));
}

std::string Template::render(const Variables& variables, std::time_t now, const RenderLimits& limits) const {
  std::size_t bytes = 0;
  for (const auto& [name, value] : variables) bytes += text_bytes(value);
  Work work(limits.work + 4 * static_cast<std::int64_t>(bytes));
  Evaluator evaluator(parsed_->name, work, now);
  return evaluator.run(parsed_->block, variables);
}

const std::string& Template::literals() const {
  return parsed_->literals;
}

}  // namespace wt::jinja
