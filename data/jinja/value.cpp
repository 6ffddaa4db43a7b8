#include "data/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/utf8.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

int depth_of(int deepest) {
  if (deepest >= kDeepestValue) throw Failure("lists or dicts stand too deep in each other");
  return deepest + 1;
}

// Of those a dict can have: None, numbers and texts.
bool same_key(const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  return a.is(Value::Kind::kNone) && b.is(Value::Kind::kNone);
}

void append(std::string& out, std::string_view text, Work& work) {
  work.spend_text(text.size());
  out += text;
}

void append_repr(std::string& out, const Value& value, Work& work);

void append_text_repr(std::string& out, const std::string& text, Work& work) {
  work.spend_text(2 * text.size());
  const bool double_quotes = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (const char32_t c : decoded(text)) {
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      out += escaped(c);
    }
  }
  out += quote;
}

void append_repr(std::string& out, const Value& value, Work& work) {
  work.spend(1);
  switch (value.kind()) {
    case Value::Kind::kText:
      append_text_repr(out, value.text(), work);
      return;
    case Value::Kind::kList:
    case Value::Kind::kTuple: {
      const bool tuple = value.is(Value::Kind::kTuple);
      out += tuple ? '(' : '[';
      for (std::size_t i = 0; i < value.items().size(); ++i) {
        if (i > 0) out += ", ";
        append_repr(out, value.items()[i], work);
      }
      if (tuple && value.items().size() == 1) out += ',';
      out += tuple ? ')' : ']';
      return;
    }
    case Value::Kind::kDict: {
      out += '{';
      bool first = true;
      for (const auto& [key, entry] : value.entries()) {
        if (!first) out += ", ";
        first = false;
        append_repr(out, key, work);
        out += ": ";
        append_repr(out, entry, work);
      }
      out += '}';
      return;
    }
    case Value::Kind::kUndefined:
      append(out, "Undefined", work);
      return;
    default:
      append(out, to_text(value, work), work);
  }
}

}  // namespace

Value::Value(std::shared_ptr<Object> object) : data_(std::move(object)) {
  depth_of(depth());
}

Value Value::undefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

Value Value::markup(std::string text) {
  Value value(std::move(text));
  value.markup_ = true;
  return value;
}

Value Value::list(Values items, Kind kind) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  Value value;
  value.data_ = std::make_shared<const List>(List{std::move(items), kind, depth_of(deepest)});
  return value;
}

Value Value::dict(Entries entries) {
  int deepest = 0;
  for (const auto& [key, item] : entries) deepest = std::max(deepest, item.depth());
  Value value;
  value.data_ = std::make_shared<const Dict>(Dict{std::move(entries), depth_of(deepest)});
  return value;
}

Value::Kind Value::kind() const {
  if (const auto* list = std::get_if<std::shared_ptr<const List>>(&data_)) return (*list)->kind;
  switch (data_.index()) {
    case 0:
      return Kind::kNone;
    case 1:
      return Kind::kUndefined;
    case 2:
      return Kind::kBool;
    case 3:
      return Kind::kInt;
    case 4:
      return Kind::kFloat;
    case 5:
      return Kind::kText;
    case 7:
      return Kind::kDict;
    default:
      return Kind::kObject;
  }
}

std::int64_t Value::integer() const {
  const bool* flag = std::get_if<bool>(&data_);
  return flag != nullptr ? (*flag ? 1 : 0) : std::get<std::int64_t>(data_);
}

double Value::number() const {
  const double* real = std::get_if<double>(&data_);
  return real != nullptr ? *real : static_cast<double>(integer());
}

const Values& Value::items() const {
  return std::get<std::shared_ptr<const List>>(data_)->items;
}

const Entries& Value::entries() const {
  return std::get<std::shared_ptr<const Dict>>(data_)->entries;
}

const std::string& Value::why_undefined() const {
  return *std::get<Undefined>(data_).why;
}

const Value* Value::find(std::string_view key) const {
  for (const auto& [name, value] : entries()) {
    if (name.is_text() && name.text() == key) return &value;
  }
  return nullptr;
}

const Value* Value::find(const Value& key) const {
  if (key.is_text()) return find(std::string_view(key.text()));
  for (const auto& [name, value] : entries()) {
    if (same_key(name, key)) return &value;
  }
  return nullptr;
}

bool Value::truthy() const {
  switch (kind()) {
    case Kind::kNone:
    case Kind::kUndefined:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer() != 0;
    case Kind::kFloat:
      return number() != 0;
    case Kind::kText:
      return !text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !items().empty();
    case Kind::kDict:
      return !entries().empty();
    case Kind::kObject:
      break;
  }
  return true;
}

const char* Value::type_name() const {
  constexpr const char* kNames[] = {"None", "undefined", "bool", "int", "float", "str", "list", "tuple", "dict"};
  return is(Kind::kObject) ? "function or namespace" : kNames[static_cast<std::size_t>(kind())];
}

int Value::depth() const {
  if (const auto* list = std::get_if<std::shared_ptr<const List>>(&data_)) return (*list)->depth;
  if (const auto* dict = std::get_if<std::shared_ptr<const Dict>>(&data_)) return (*dict)->depth;
  if (const auto* made = std::get_if<std::shared_ptr<Object>>(&data_)) return (*made)->depth();
  return 0;
}

Value Object::attribute(const std::string& wanted) const {
  return Value::undefined(cat(name(), " has no attribute '", wanted, "'"));
}

Value Object::call(Evaluator&, Arguments&) const {
  throw Failure(cat(name(), " cannot be called"));
}

void put(Entries& entries, const Value& key, Value value, Work& work) {
  require_defined(key);
  if (!key.is(Value::Kind::kNone) && !key.is_number() && !key.is_text()) {
    throw Failure(cat("a ", key.type_name(), " as the key of a dict is not supported"));
  }
  work.spend(4 + entries.size() / 8);
  for (auto& [known, old] : entries) {
    if (!same_key(known, key)) continue;
    old = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
}

Variables variables_of(const Value& dict) {
  Variables variables;
  for (const auto& [key, value] : dict.entries()) {
    if (!key.is_text()) throw Failure(cat("a name must be a str, not ", key.type_name()));
    variables.emplace_back(key.text(), value);
  }
  return variables;
}

void require_defined(const Value& value) {
  if (value.is_undefined()) throw Failure(value.why_undefined());
}

std::string to_text(const Value& value, Work& work) {
  switch (value.kind()) {
    case Value::Kind::kNone:
      return "None";
    case Value::Kind::kUndefined:
      return "";
    case Value::Kind::kBool:
      return value.truthy() ? "True" : "False";
    case Value::Kind::kInt:
      return std::to_string(value.integer());
    case Value::Kind::kFloat:
      return float_repr(value.number());
    case Value::Kind::kText:
      work.spend_text(value.text().size());
      return value.text();
    case Value::Kind::kObject:
      throw Failure(cat(value.object()->name(), " is no text; is a call's () missing?"));
    default:
      return to_repr(value, work);
  }
}

std::string to_repr(const Value& value, Work& work) {
  std::string out;
  append_repr(out, value, work);
  return out;
}

// The shortest digits that read back as the same number, with an exponent from 1e16 on and below 1e-4.
std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const double size = std::fabs(value);
  const bool scientific = size != 0 && (size >= 1e16 || size < 1e-4);
  char digits[64];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), value,
                                 scientific ? std::chars_format::scientific : std::chars_format::fixed)
                       .ptr;
  std::string out(std::begin(digits), end);
  if (!scientific && out.find('.') == std::string::npos) out += ".0";
  return out;
}

Values iterate(const Value& value, Work& work) {
  Values out;
  switch (value.kind()) {
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      work.spend(value.items().size());
      return value.items();
    case Value::Kind::kDict:
      work.spend(value.entries().size());
      for (const auto& [key, entry] : value.entries()) out.push_back(key);
      return out;
    case Value::Kind::kText: {
      const std::string& text = value.text();
      work.spend(8 * text.size());
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = std::max<std::size_t>(utf8_length_at(text, i), 1);
        out.emplace_back(text.substr(i, length));
        i += length;
      }
      return out;
    }
    case Value::Kind::kUndefined:
      return out;
    case Value::Kind::kObject:
      if (const Values* items = value.object()->iterated()) {
        work.spend(items->size());
        return *items;
      }
      break;
    default:
      break;
  }
  throw Failure(cat("cannot go through ", value.type_name(), ", expected a list, dict or str"));
}

}  // namespace wt::jinja
