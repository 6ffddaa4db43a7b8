#include "data/jinja/methods.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "data/jinja/arguments.h"
#include "data/jinja/evaluate.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

using Method = Value (*)(const Value& self, Arguments& given, Work& work);

Value count_of(std::size_t count) {
  return Value(static_cast<std::int64_t>(count));
}

Value texts(const std::vector<std::string>& parts, Work& work) {
  work.spend(8 * parts.size());
  Values items(parts.begin(), parts.end());
  return Value::list(std::move(items));
}

// Text and prefix or suffix; a tuple of them: any.
template <class Fits>
Value any_of(const std::string& text, Arguments& given, const char* name, const Fits& fits) {
  const Value wanted = given.required(name);
  given.done();
  require_defined(wanted);
  const Values all = wanted.is(Value::Kind::kTuple) ? wanted.items() : Values{wanted};
  return Value(std::any_of(all.begin(), all.end(), [&](const Value& part) {
    if (!part.is_text()) throw Failure(cat(given.callee, ": expected a str or tuple of them, not ", part.type_name()));
    return fits(text, part.text());
  }));
}

template <bool left, bool right>
Value stripped(const Value& self, Arguments& given, Work& work) {
  const Value chars = given.next("chars", Value());
  given.done();
  work.spend_text(self.text().size());
  if (chars.is(Value::Kind::kNone)) return Value(strip(self.text(), nullptr, left, right));
  require_defined(chars);
  if (!chars.is_text()) throw Failure(cat(given.callee, ": chars must be a str, not ", chars.type_name()));
  work.spend(self.text().size() / 8 * std::min<std::size_t>(chars.text().size(), 64));
  return Value(strip(self.text(), &chars.text(), left, right));
}

template <bool from_right>
Value cut(const Value& self, Arguments& given, Work& work) {
  const Value separator = given.next("sep", Value());
  const std::int64_t limit = given.integer("maxsplit", -1);
  given.done();
  work.spend_text(8 * self.text().size());
  const auto cut_at = from_right ? rsplit : split;
  if (separator.is(Value::Kind::kNone)) return texts(cut_at(self.text(), nullptr, limit), work);
  require_defined(separator);
  if (!separator.is_text()) throw Failure(cat(given.callee, ": sep must be a str, not ", separator.type_name()));
  if (separator.text().empty()) throw Failure(cat(given.callee, ": the separator is empty"));
  return texts(cut_at(self.text(), &separator.text(), limit), work);
}

template <bool from_right>
Value parted(const Value& self, Arguments& given, Work& work) {
  const std::string separator = given.text("sep");
  given.done();
  if (separator.empty()) throw Failure(cat(given.callee, ": the separator is empty"));
  const std::string& text = self.text();
  work.spend_text(2 * text.size());
  const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at != std::string::npos) {
    return Value::tuple({Value(text.substr(0, at)), Value(separator), Value(text.substr(at + separator.size()))});
  }
  return from_right ? Value::tuple({Value(""), Value(""), self}) : Value::tuple({self, Value(""), Value("")});
}

template <bool from_right, bool must>
Value found(const Value& self, Arguments& given, Work& work) {
  const std::string part = given.text("sub");
  given.done();
  const std::string& text = self.text();
  work.spend_text(2 * text.size());
  const std::size_t at = from_right ? text.rfind(part) : text.find(part);
  if (at != std::string::npos) return count_of(length(text.substr(0, at)));
  if (must) throw Failure(cat(given.callee, ": the text is not in it"));
  return Value(std::int64_t{-1});
}

template <std::string (*change)(std::string_view)>
Value changed(const Value& self, Arguments& given, Work& work) {
  given.done();
  work.spend_text(5 * self.text().size());
  return Value(change(self.text()));
}

// isdigit() and the like: true for a text that has a character and of which every one fits.
template <bool (*fits)(char32_t)>
Value all_are(const Value& self, Arguments& given, Work& work) {
  given.done();
  work.spend_text(5 * self.text().size());
  const std::u32string all = decoded(self.text());
  return Value(!all.empty() && std::all_of(all.begin(), all.end(), fits));
}

bool is_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}
bool is_alphanumeric(char32_t c) {
  return is_digit(c) || is_letter(c);
}

// isupper(), islower(): some letter has two cases, and all of those have this one.
template <bool is_upper>
Value cased(const Value& self, Arguments& given, Work& work) {
  given.done();
  work.spend_text(5 * self.text().size());
  bool any = false;
  for (const char32_t c : decoded(self.text())) {
    const bool upper_case = to_lower(c) != c, lower_case = to_upper(c) != c;
    if (is_upper ? lower_case : upper_case) return Value(false);
    any = any || upper_case || lower_case;
  }
  return Value(any);
}

// On the left, on the right, or (Jinja's and Python's center) both.
enum class Side : std::uint8_t { kLeft, kRight, kBoth };
template <Side side>
Value padded(const Value& self, Arguments& given, Work& work) {
  const std::int64_t width = given.integer("width", 0);
  const std::string fill = given.text("fillchar", " ");
  given.done();
  const auto size = static_cast<std::int64_t>(length(self.text()));
  if (length(fill) != 1) throw Failure(cat(given.callee, ": fillchar must be one character"));
  const std::int64_t missing = std::max<std::int64_t>(width - size, 0);
  work.spend(static_cast<std::size_t>(missing));
  work.spend_text(self.text().size());
  const std::int64_t extra = missing % 2 != 0 && width % 2 != 0 ? 1 : 0;
  const std::int64_t before = side == Side::kLeft ? missing : side == Side::kRight ? 0 : missing / 2 + extra;
  std::string out;
  for (std::int64_t i = 0; i < before; ++i) out += fill;
  out += self.text();
  for (std::int64_t i = before; i < missing; ++i) out += fill;
  return Value(std::move(out));
}

Value joined(const Value& self, Arguments& given, Work& work) {
  const Values parts = iterate(given.required("iterable"), work);
  given.done();
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    require_defined(parts[i]);
    if (!parts[i].is_text()) throw Failure(cat("join: element ", i, " is a ", parts[i].type_name(), ", not a str"));
    work.spend_text(parts[i].text().size() + self.text().size());
    if (i > 0) out += self.text();
    out += parts[i].text();
  }
  return Value(std::move(out));
}

Value replaced(const Value& self, Arguments& given, Work& work) {
  const std::string from = given.text("old"), to = given.text("new");
  const std::int64_t limit = given.integer("count", -1);
  given.done();
  work.spend_text(replaced_size(self.text(), from, to, limit));
  return Value(replace(self.text(), from, to, limit));
}

Value counted(const Value& self, Arguments& given, Work& work) {
  const std::string part = given.text("sub");
  given.done();
  work.spend_text(self.text().size());
  return Value(count(self.text(), part));
}

Value lines(const Value& self, Arguments& given, Work& work) {
  const bool keep = given.flag("keepends", false);
  given.done();
  work.spend_text(8 * self.text().size());
  return texts(split_lines(self.text(), keep), work);
}

template <bool prefix>
Value without(const Value& self, Arguments& given, Work& work) {
  const std::string part = given.text(prefix ? "prefix" : "suffix");
  given.done();
  const std::string& text = self.text();
  work.spend_text(text.size());
  if (prefix && text.starts_with(part)) return Value(text.substr(part.size()));
  if (!prefix && text.ends_with(part)) return Value(text.substr(0, text.size() - part.size()));
  return self;
}

// "{} {0} {name}".format(…): fields alone, without attributes, conversions and formats.
Value formatted(const Value& self, Arguments& given, Work& work) {
  std::string out;
  std::size_t next = 0;
  const std::string& text = self.text();
  work.spend_text(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      ++i;
    } else if (c == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string::npos) throw Failure("format: a { has no }");
      const std::string field = text.substr(i + 1, end - i - 1);
      i = end;
      const bool number = field.find_first_not_of("0123456789") == std::string::npos && field.size() < 4;
      const auto named = std::find_if(given.named.begin(), given.named.end(),
                                      [&](const auto& argument) { return argument.first == field; });
      const std::size_t index = field.empty() ? next++ : number ? std::stoul(field) : given.positional.size();
      if (index < given.positional.size()) {
        out += to_text(given.positional[index], work);
      } else if (named != given.named.end()) {
        out += to_text(named->second, work);
      } else {
        throw Failure(cat("format: no argument for the field {", field, "}"));
      }
    } else if (c == '}') {
      throw Failure("format: a } has no {");
    } else {
      out += c;
    }
  }
  return Value(std::move(out));
}

Value items_of(const Value& self, Arguments& given, Work& work) {
  given.done();
  work.spend(8 * self.entries().size());
  Values out;
  for (const auto& [key, value] : self.entries()) out.push_back(Value::tuple({key, value}));
  return Value::list(std::move(out));
}

Value keys_of(const Value& self, Arguments& given, Work& work) {
  given.done();
  return Value::list(iterate(self, work));
}

Value values_of(const Value& self, Arguments& given, Work& work) {
  given.done();
  work.spend(4 * self.entries().size());
  Values out;
  for (const auto& [key, value] : self.entries()) out.push_back(value);
  return Value::list(std::move(out));
}

Value get(const Value& self, Arguments& given, Work& work) {
  const Value key = given.required("key");
  const Value standard = given.next("default", Value());
  given.done();
  work.spend(self.entries().size() / 8);
  const Value* value = self.find(key);
  return value != nullptr ? *value : standard;
}

Value index_of(const Value& self, Arguments& given, Work& work) {
  const Value wanted = given.required("value");
  given.done();
  for (std::size_t i = 0; i < self.items().size(); ++i) {
    if (equal(self.items()[i], wanted, work)) return count_of(i);
  }
  throw Failure("index: the value is not in the list");
}

Value occurrences(const Value& self, Arguments& given, Work& work) {
  const Value wanted = given.required("value");
  given.done();
  const auto count = std::count_if(self.items().begin(), self.items().end(),
                                   [&](const Value& item) { return equal(item, wanted, work); });
  return Value(static_cast<std::int64_t>(count));
}

Value copied(const Value& self, Arguments& given, Work&) {
  given.done();
  return self;
}

using Methods = std::map<std::string, Method, std::less<>>;

const Methods& methods_of(const Value& value) {
  static const Methods none;
  static const Methods of_dict{
      {"copy", copied}, {"get", get}, {"items", items_of}, {"keys", keys_of}, {"values", values_of}};
  static const Methods of_list{{"copy", copied}, {"count", occurrences}, {"index", index_of}};
  static const Methods of_text{{"capitalize", changed<capitalize>},
                               {"casefold", changed<lower>},
                               {"center", padded<Side::kBoth>},
                               {"count", counted},
                               {"endswith",
                                [](const Value& self, Arguments& given, Work& work) {
                                  work.spend(1);
                                  return any_of(self.text(), given, "suffix", [](const auto& text, const auto& part) {
                                    return text.ends_with(part);
                                  });
                                }},
                               {"find", found<false, false>},
                               {"format", formatted},
                               {"index", found<false, true>},
                               {"isalnum", all_are<is_alphanumeric>},
                               {"isalpha", all_are<is_letter>},
                               {"isdecimal", all_are<is_digit>},
                               {"isdigit", all_are<is_digit>},
                               {"islower", cased<false>},
                               {"isnumeric", all_are<is_digit>},
                               {"isspace", all_are<is_space>},
                               {"isupper", cased<true>},
                               {"join", joined},
                               {"ljust", padded<Side::kRight>},
                               {"lower", changed<lower>},
                               {"lstrip", stripped<true, false>},
                               {"partition", parted<false>},
                               {"removeprefix", without<true>},
                               {"removesuffix", without<false>},
                               {"replace", replaced},
                               {"rfind", found<true, false>},
                               {"rindex", found<true, true>},
                               {"rjust", padded<Side::kLeft>},
                               {"rpartition", parted<true>},
                               {"rsplit", cut<true>},
                               {"rstrip", stripped<false, true>},
                               {"split", cut<false>},
                               {"splitlines", lines},
                               {"startswith",
                                [](const Value& self, Arguments& given, Work& work) {
                                  work.spend(1);
                                  return any_of(self.text(), given, "prefix", [](const auto& text, const auto& part) {
                                    return text.starts_with(part);
                                  });
                                }},
                               {"strip", stripped<true, true>},
                               {"title", changed<title>},
                               {"upper", changed<upper>}};
  if (value.is(Value::Kind::kDict)) return of_dict;
  return value.is_text() ? of_text : value.is_list() ? of_list : none;
}

class BoundMethod : public Object {
 public:
  BoundMethod(Value self, std::string name, Method method)
      : self_(std::move(self)), name_(std::move(name)), method_(method) {}
  std::string name() const override { return cat(self_.type_name(), ".", name_, "()"); }
  Value call(Evaluator& evaluator, Arguments& given) const override {
    given.callee = name_;
    return method_(self_, given, evaluator.work());
  }
  bool callable() const override { return true; }
  int depth() const override { return self_.depth(); }

 private:
  Value self_;
  std::string name_;
  Method method_;
};

}  // namespace

Value method_of(const Value& value, const std::string& name) {
  const Methods& methods = methods_of(value);
  const auto found_method = methods.find(name);
  if (found_method == methods.end()) return Value::undefined(missing_attribute(value, name));
  return Value(std::make_shared<BoundMethod>(value, name, found_method->second));
}

std::string missing_attribute(const Value& value, const std::string& name) {
  for (const char* changes :
       {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"}) {
    if (name == changes && (value.is_list() || value.is(Value::Kind::kDict))) {
      return cat("'", name, "' would change a ", value.type_name(), ", which a chat template may not");
    }
  }
  return cat(value.type_name(), " has no attribute '", name, "'");
}

}  // namespace wt::jinja
