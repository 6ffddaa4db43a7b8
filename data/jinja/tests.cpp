#include "data/jinja/tests.h"

#include <map>

#include "core/error.h"
#include "data/jinja/operators.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

using Kind = Value::Kind;
using Check = bool (*)(const Value& value, Evaluator& evaluator);

std::int64_t whole_number(const Value& value, const std::string& test) {
  require_defined(value);
  if (!value.is_integer()) throw Failure(cat(test, ": expected an int, not ", value.type_name()));
  return value.integer();
}

bool divides(const Value& value, std::int64_t by, const std::string& test) {
  if (by == 0) throw Failure(cat(test, ": division by zero"));
  return by == -1 || whole_number(value, test) % by == 0;
}

template <bool upper_case>
bool has_case(const Value& value, Evaluator& evaluator) {
  const std::string text = to_text(value, evaluator.work());
  evaluator.work().spend_text(8 * text.size());
  const std::string same = upper_case ? upper(text) : lower(text), other = upper_case ? lower(text) : upper(text);
  return text == same && text != other;
}

template <Kind kind>
bool is_kind(const Value& value, Evaluator&) {
  return value.is(kind);
}

// Those without arguments.
const std::map<std::string, Check>& checks() {
  static const std::map<std::string, Check> all{
      {"defined", [](const Value& value, Evaluator&) { return !value.is_undefined(); }},
      {"undefined", is_kind<Kind::kUndefined>},
      {"none", is_kind<Kind::kNone>},
      {"boolean", is_kind<Kind::kBool>},
      {"true", [](const Value& value, Evaluator&) { return value.is(Kind::kBool) && value.truthy(); }},
      {"false", [](const Value& value, Evaluator&) { return value.is(Kind::kBool) && !value.truthy(); }},
      {"integer", is_kind<Kind::kInt>},
      {"float", is_kind<Kind::kFloat>},
      {"number", [](const Value& value, Evaluator&) { return value.is_number(); }},
      {"string", is_kind<Kind::kText>},
      {"mapping", is_kind<Kind::kDict>},
      {"sequence",
       [](const Value& value, Evaluator&) {
         return value.is_text() || value.is_list() || value.is(Kind::kDict) || value.is_undefined();
       }},
      {"iterable",
       [](const Value& value, Evaluator&) {
         return value.is_text() || value.is_list() || value.is(Kind::kDict) || value.is_undefined() ||
                (value.is(Kind::kObject) && value.object()->iterable());
       }},
      {"callable",
       [](const Value& value, Evaluator&) { return value.is(Kind::kObject) && value.object()->callable(); }},
      {"odd", [](const Value& value, Evaluator&) { return whole_number(value, "odd") % 2 != 0; }},
      {"even", [](const Value& value, Evaluator&) { return whole_number(value, "even") % 2 == 0; }},
      {"lower", has_case<false>},
      {"upper", has_case<true>},
      {"escaped", [](const Value&, Evaluator&) { return false; }}};
  return all;
}

// Those that compare with one value, and the operator that they are.
const std::map<std::string, std::string>& comparisons() {
  static const std::map<std::string, std::string> all{
      {"eq", "=="}, {"equalto", "=="},    {"ne", "!="}, {"lt", "<"},  {"lessthan", "<"},
      {"gt", ">"},  {"greaterthan", ">"}, {"le", "<="}, {"ge", ">="}, {"in", "in"}};
  return all;
}

bool same(const Value& a, const Value& b, Work& work) {
  const bool simple = a.is(Kind::kNone) || a.is(Kind::kBool) || a.is(Kind::kInt) || a.is(Kind::kObject);
  return simple && a.kind() == b.kind() && equal(a, b, work);
}

}  // namespace

bool apply_test(const std::string& name, const Value& value, Arguments& given, Evaluator& evaluator) {
  given.callee = name;
  if (const auto check = checks().find(name); check != checks().end()) {
    given.done();
    return check->second(value, evaluator);
  }
  const bool is_operator = name == "==" || name == "!=" || name == "<" || name == "<=" || name == ">" || name == ">=";
  const auto comparison = comparisons().find(name);
  if (is_operator || comparison != comparisons().end() || name == "divisibleby" || name == "sameas") {
    const Value other = given.required("value");
    given.done();
    if (name == "divisibleby") return divides(value, whole_number(other, name), name);
    if (name == "sameas") return same(value, other, evaluator.work());
    return compares(is_operator ? name : comparison->second, value, other, evaluator.work());
  }
  throw Failure(cat("the test '", name, "' is not known in chat templates"));
}

}  // namespace wt::jinja
