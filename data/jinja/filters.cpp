#include "data/jinja/filters.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "data/jinja/json.h"
#include "data/jinja/methods.h"
#include "data/jinja/operators.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

using Kind = Value::Kind;

// As the filters do that take anything for text.
std::string text_of(const Value& value, Evaluator& evaluator) {
  return to_text(value, evaluator.work());
}

template <std::string (*change)(std::string_view)>
Value changed(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  const std::string text = text_of(value, evaluator);
  evaluator.work().spend_text(4 * text.size());
  return Value(change(text));
}

Value absolute(const Value& value, Arguments& given, Evaluator&) {
  given.done();
  require_defined(value);
  if (!value.is_number()) throw Failure(cat("abs: expected a number, not ", value.type_name()));
  const bool negative = value.is_integer() ? value.integer() < 0 : std::signbit(value.number());
  return signed_value(negative ? "-" : "+", value);
}

Value standard_for(const Value& value, Arguments& given, Evaluator&) {
  const Value standard = given.next("default_value", Value(""));
  const bool also_false = given.flag("boolean", false);
  given.done();
  return value.is_undefined() || (also_false && !value.truthy()) ? standard : value;
}

Value trim(const Value& value, Arguments& given, Evaluator& evaluator) {
  const Value chars = given.next("chars", Value());
  given.done();
  const std::string text = text_of(value, evaluator);
  if (chars.is(Kind::kNone)) return Value(strip(text, nullptr, true, true));
  const std::string set = text_of(chars, evaluator);
  evaluator.work().spend(text.size() / 8 * std::min<std::size_t>(set.size(), 64));
  return Value(strip(text, &set, true, true));
}

Value replaced(const Value& value, Arguments& given, Evaluator& evaluator) {
  const std::string from = text_of(given.required("old"), evaluator), to = text_of(given.required("new"), evaluator);
  const Value limit = given.next("count", Value());
  given.done();
  if (!limit.is(Kind::kNone) && !limit.is_integer()) throw Failure("replace: count must be an int");
  const std::int64_t most = limit.is_integer() ? limit.integer() : -1;
  const std::string text = text_of(value, evaluator);
  evaluator.work().spend_text(replaced_size(text, from, to, most));
  return Value(replace(text, from, to, most));
}

Value escaped_html(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  if (value.is_markup()) return value;
  const std::string text = text_of(value, evaluator);
  evaluator.work().spend_text(5 * text.size());
  return Value::markup(escape_html(text));
}

Value safe(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  return Value::markup(text_of(value, evaluator));
}

Value indented(const Value& value, Arguments& given, Evaluator& evaluator) {
  const Value width = given.next("width", Value(std::int64_t{4}));
  const bool first = given.flag("first", false), blank = given.flag("blank", false);
  given.done();
  if (!width.is_text() && !width.is_integer()) throw Failure("indent: width must be an int or a str");
  if (width.is_integer() && width.integer() > 1000) throw Failure("indent: width is above 1000");
  const std::string before =
      width.is_text() ? width.text()
                      : std::string(static_cast<std::size_t>(std::max<std::int64_t>(width.integer(), 0)), ' ');
  const std::vector<std::string> lines = split_lines(text_of(value, evaluator) + "\n", false);
  std::string out = first ? before : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    evaluator.work().spend_text(before.size() + lines[i].size());
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += before;
    out += lines[i];
  }
  return Value(std::move(out));
}

Value words(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  std::int64_t count = 0;
  bool inside = false;
  for (const char32_t c : decoded(text_of(value, evaluator))) {
    const bool part = is_letter(c) || (c >= U'0' && c <= U'9') || c == U'_';
    count += part && !inside ? 1 : 0;
    inside = part;
  }
  return Value(count);
}

Value centred(const Value& value, Arguments& given, Evaluator& evaluator) {
  Arguments width{"center", {Value(given.integer("width", 80))}, {}};
  given.done();
  return evaluator.call(method_of(Value(text_of(value, evaluator)), "center"), width);
}

Value formatted(const Value& value, Arguments& given, Evaluator& evaluator) {
  if (!given.named.empty()) throw Failure("format: named values are not supported");
  return Value(percent_format(text_of(value, evaluator), given.positional, evaluator.work()));
}

Value whole_of(double number, const Value& standard) {
  if (!std::isfinite(number)) return standard;
  if (!(std::fabs(number) < 9.2e18)) throw Failure("an integer is out of range");
  return Value(static_cast<std::int64_t>(number));
}

// A number as Python's float() reads it; false where it is none.
bool read_float(std::string text, double& out) {
  text = lower(strip(text, nullptr, true, true));
  if (text.find("__") != std::string::npos || text.starts_with('_') || text.ends_with('_')) return false;
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  const bool word = text.find_first_not_of("+-0123456789.e") != std::string::npos;
  const std::string bare = !text.empty() && (text[0] == '+' || text[0] == '-') ? text.substr(1) : text;
  if (text.empty() || (word && bare != "inf" && bare != "infinity" && bare != "nan")) return false;
  char* end = nullptr;
  out = std::strtod(text.c_str(), &end);
  return *end == '\0';
}

Value to_integer(const Value& value, Arguments& given, Evaluator& evaluator) {
  const Value standard = given.next("default", Value(std::int64_t{0}));
  const std::int64_t base = given.integer("base", 10);
  given.done();
  require_defined(value);
  if (value.is_integer()) return Value(value.integer());
  if (value.is_number()) return whole_of(value.number(), standard);
  if (!value.is_text()) return standard;
  if (base != 10 && base != 16 && base != 8 && base != 2) throw Failure("int: base must be 2, 8, 10 or 16");
  evaluator.work().spend_text(value.text().size());
  std::string text = lower(strip(value.text(), nullptr, true, true));
  const char* const prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "";
  const std::size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  if (base != 10 && text.compare(sign, 2, prefix) == 0) text.erase(sign, 2);
  const bool underscores = text.find("__") != std::string::npos || text.ends_with('_') || text[sign] == '_';
  if (!underscores) text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  const std::string digits = std::string("0123456789abcdef").substr(0, static_cast<std::size_t>(base));
  if (text.size() > sign && text.find_first_not_of(digits, sign) == std::string::npos) {
    errno = 0;
    const std::int64_t number = std::strtoll(text.c_str(), nullptr, static_cast<int>(base));
    if (errno != 0) throw Failure("an integer is out of range");
    return Value(number);
  }
  double number = 0;
  return read_float(value.text(), number) ? whole_of(number, standard) : standard;
}

Value to_float(const Value& value, Arguments& given, Evaluator& evaluator) {
  const Value standard = given.next("default", Value(0.0));
  given.done();
  require_defined(value);
  if (value.is_number()) return Value(value.number());
  double number = 0;
  if (!value.is_text()) return standard;
  evaluator.work().spend_text(value.text().size());
  return read_float(value.text(), number) ? Value(number) : standard;
}

Value rounded(const Value& value, Arguments& given, Evaluator& evaluator) {
  const std::int64_t precision = given.integer("precision", 0);
  const std::string method = given.text("method", "common");
  given.done();
  require_defined(value);
  if (!value.is_number()) throw Failure(cat("round: expected a number, not ", value.type_name()));
  if (precision < -20 || precision > 20) throw Failure("round: expected a precision of -20 to 20");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(value.number() * scale) / scale);
  if (method == "floor") return Value(std::floor(value.number() * scale) / scale);
  if (method != "common") throw Failure("round: method must be common, ceil or floor");
  if (value.is_integer() && precision >= 0) return Value(value.integer());
  if (!std::isfinite(value.number())) return value;
  if (precision < 0) {
    const double whole = std::nearbyint(value.number() * scale) / scale;
    return value.is_integer() ? whole_of(whole, value) : Value(whole);
  }
  // The exact value's digits, halves to even, as Python rounds.
  const std::string digits = percent_format(cat("%.", precision, "f"), {value}, evaluator.work());
  return Value(std::strtod(digits.c_str(), nullptr));
}

Value json_of(const Value& value, Arguments& given, Evaluator& evaluator) {
  JsonStyle style;
  style.ascii = given.flag("ensure_ascii", false);
  const Value indent = given.next("indent", Value()), separators = given.next("separators", Value());
  style.sort_keys = given.flag("sort_keys", false);
  given.done();
  style.lines = !indent.is(Kind::kNone);
  if (style.lines) {
    if (!indent.is_text() && !indent.is_integer()) throw Failure("tojson: indent must be an int or a str");
    if (indent.is_integer() && indent.integer() > 100) throw Failure("tojson: indent is above 100");
    style.indent = indent.is_text()
                       ? indent.text()
                       : std::string(static_cast<std::size_t>(std::max<std::int64_t>(indent.integer(), 0)), ' ');
    style.between = ",";
  }
  if (!separators.is(Kind::kNone)) {
    const bool two = separators.is_list() && separators.items().size() == 2 && separators.items()[0].is_text() &&
                     separators.items()[1].is_text();
    if (!two) throw Failure("tojson: separators must be two str");
    style.between = separators.items()[0].text();
    style.colon = separators.items()[1].text();
  }
  return Value(to_json(value, style, evaluator.work()));
}

Value attribute(const Value& value, Arguments& given, Evaluator&) {
  const std::string name = given.text("name");
  given.done();
  return value.is(Kind::kDict) ? method_of(value, name) : attribute_of(value, name);
}

Value as_text(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  return value.is_text() ? value : Value(text_of(value, evaluator));
}

}  // namespace

const Filters& text_filters() {
  static const Filters all{{"abs", absolute},
                           {"attr", attribute},
                           {"capitalize", changed<capitalize>},
                           {"center", centred},
                           {"d", standard_for},
                           {"default", standard_for},
                           {"e", escaped_html},
                           {"escape", escaped_html},
                           {"float", to_float},
                           {"format", formatted},
                           {"indent", indented},
                           {"int", to_integer},
                           {"lower", changed<lower>},
                           {"replace", replaced},
                           {"round", rounded},
                           {"safe", safe},
                           {"string", as_text},
                           {"title", changed<filter_title>},
                           {"tojson", json_of},
                           {"trim", trim},
                           {"upper", changed<upper>},
                           {"wordcount", words}};
  return all;
}

Value apply_filter(const std::string& name, const Value& value, Arguments& given, Evaluator& evaluator) {
  given.callee = name;
  for (const Filters* filters : {&text_filters(), &sequence_filters()}) {
    if (const auto found = filters->find(name); found != filters->end()) return found->second(value, given, evaluator);
  }
  throw Failure(cat("the filter '", name, "' is not known in chat templates"));
}

}  // namespace wt::jinja
