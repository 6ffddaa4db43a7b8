#include "data/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/utf8.h"
#include "data/jinja/methods.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

[[noreturn]] void no_operator(const std::string& op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  throw Failure(cat("no ", op, " of ", a.type_name(), " and ", b.type_name()));
}

// `value` is what the operation makes while it says whether it overflows: not read before.
Value checked(bool overflow, const std::int64_t& value) {
  if (overflow) throw Failure("an integer is out of range");
  return Value(value);
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  bool overflow = false;
  while (exponent > 0 && !overflow) {
    if ((exponent & 1) != 0) overflow = __builtin_mul_overflow(result, base, &result);
    exponent >>= 1;
    if (exponent > 0 && !overflow) overflow = __builtin_mul_overflow(base, base, &base);
  }
  return checked(overflow, result);
}

Value of_integers(const std::string& op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (op == "+") return checked(__builtin_add_overflow(a, b, &out), out);
  if (op == "-") return checked(__builtin_sub_overflow(a, b, &out), out);
  if (op == "*") return checked(__builtin_mul_overflow(a, b, &out), out);
  if (op == "**" && b >= 0) return integer_power(a, b);
  if (op == "**") return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
  if (b == 0) throw Failure("division by zero");
  if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1)
    return op == "//" ? checked(__builtin_sub_overflow(std::int64_t{0}, a, &out), out) : Value(std::int64_t{0});
  // Towards minus infinity, and the remainder has the divisor's sign.
  const std::int64_t rest = a % b;
  const bool below = rest != 0 && (rest < 0) != (b < 0);
  if (op == "//") return Value(a / b - (below ? 1 : 0));
  return Value(below ? rest + b : rest);
}

Value of_floats(const std::string& op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) throw Failure("division by zero");
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

Value repeated(const Value& value, std::int64_t times, Work& work) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (value.is_text()) {
    const std::string& text = value.text();
    if (text.empty()) return value;
    work.spend(count);
    work.spend_text(text.size() * count);
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += text;
    return Value(std::move(out));
  }
  const Values& items = value.items();
  if (items.empty()) return value;
  work.spend(count);
  work.spend(4 * items.size() * count);
  Values out;
  for (std::size_t i = 0; i < count; ++i) out.insert(out.end(), items.begin(), items.end());
  return Value::list(std::move(out), value.kind());
}

// Python's range of a slice over `size` elements.
struct Range {
  std::int64_t from, to, step;
};

Range range_of(const Value& from, const Value& to, const Value& step, std::int64_t size) {
  const auto given = [](const Value& value, std::int64_t standard) {
    if (value.is(Value::Kind::kNone)) return standard;
    require_defined(value);
    if (!value.is_integer()) throw Failure(cat("a slice wants int, not ", value.type_name()));
    return value.integer();
  };
  Range range{0, 0, given(step, 1)};
  if (range.step == 0) throw Failure("a slice with step 0");
  const std::int64_t low = range.step > 0 ? 0 : -1, high = range.step > 0 ? size : size - 1;
  const auto inside = [&](std::int64_t i) { return std::clamp(i < 0 ? i + size : i, low, high); };
  range.from = from.is(Value::Kind::kNone) ? (range.step > 0 ? low : high) : inside(given(from, 0));
  range.to = to.is(Value::Kind::kNone) ? (range.step > 0 ? high : low) : inside(given(to, 0));
  // A step beyond the size takes one element, as one of the size does.
  range.step = std::clamp(range.step, -size - 1, size + 1);
  return range;
}

template <class All>
All sliced(const All& all, const Range& range) {
  All out;
  for (std::int64_t i = range.from; range.step > 0 ? i < range.to : i > range.to; i += range.step) {
    out.push_back(all[static_cast<std::size_t>(i)]);
  }
  return out;
}

}  // namespace

Value arithmetic(const std::string& op, const Value& a, const Value& b, Work& work) {
  if (a.is_integer() && b.is_integer()) return of_integers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return of_floats(op, a.number(), b.number());
  if (op == "+" && a.is_text() && b.is_text() && a.is_markup() != b.is_markup()) {
    work.spend_text(5 * (a.text().size() + b.text().size()));
    const auto escaped_part = [](const Value& part) {
      return part.is_markup() ? part.text() : escape_html(part.text());
    };
    return Value::markup(escaped_part(a) + escaped_part(b));
  }
  if (op == "+" && a.is_text() && b.is_text()) {
    work.spend_text(a.text().size() + b.text().size());
    return a.is_markup() ? Value::markup(a.text() + b.text()) : Value(a.text() + b.text());
  }
  if (op == "+" && a.is_list() && a.kind() == b.kind()) {
    work.spend(4 * (a.items().size() + b.items().size()));
    Values items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return Value::list(std::move(items), a.kind());
  }
  if (op == "*" && (a.is_text() || a.is_list()) && b.is_integer()) return repeated(a, b.integer(), work);
  if (op == "*" && (b.is_text() || b.is_list()) && a.is_integer()) return repeated(b, a.integer(), work);
  if (op == "%" && a.is_text()) {
    return Value(percent_format(a.text(), b.is(Value::Kind::kTuple) ? b.items() : Values{b}, work));
  }
  no_operator(op, a, b);
}

Value signed_value(const std::string& op, const Value& value) {
  require_defined(value);
  if (!value.is_number()) throw Failure(cat("no ", op, " of ", value.type_name()));
  if (value.is_integer()) return op == "-" ? of_integers("-", 0, value.integer()) : Value(value.integer());
  return Value(op == "-" ? -value.number() : value.number());
}

bool compares(const std::string& op, const Value& a, const Value& b, Work& work) {
  if (op == "==") return equal(a, b, work);
  if (op == "!=") return !equal(a, b, work);
  if (op == "in") return contains(b, a, work);
  if (op == "not in") return !contains(b, a, work);
  const bool is_nan =
      (a.is(Value::Kind::kFloat) && std::isnan(a.number())) || (b.is(Value::Kind::kFloat) && std::isnan(b.number()));
  const int order = compare(a, b, work);
  if (is_nan) return false;
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  if (op == ">") return order > 0;
  return order >= 0;
}

Value attribute_of(const Value& value, const std::string& name) {
  require_defined(value);
  if (value.is(Value::Kind::kObject)) return value.object()->attribute(name);
  if (Value method = method_of(value, name); !method.is_undefined()) return method;
  if (value.is(Value::Kind::kDict)) {
    if (const Value* found = value.find(std::string_view(name))) return *found;
  }
  return Value::undefined(missing_attribute(value, name));
}

Value item_of(const Value& value, const Value& key, Work& work) {
  require_defined(value);
  if (value.is(Value::Kind::kDict)) {
    work.spend(value.entries().size() / 8);
    if (const Value* found = value.find(key)) return *found;
  }
  if ((value.is_list() || value.is_text()) && key.is_integer()) {
    std::int64_t index = key.integer();
    if (value.is_text()) {
      const auto most = static_cast<std::int64_t>(value.text().size());
      if (index >= most || index < -most) return Value::undefined(cat("str has no element ", index));
      const Value character = slice_of(value, key, index == -1 ? Value() : Value(index + 1), Value(), work);
      if (!character.text().empty()) return character;
    } else {
      const auto size = static_cast<std::int64_t>(value.items().size());
      if (index < 0) index += size;
      if (index >= 0 && index < size) return value.items()[static_cast<std::size_t>(index)];
    }
    return Value::undefined(cat(value.type_name(), " has no element ", key.integer()));
  }
  if (key.is_text()) return attribute_of(value, key.text());
  require_defined(key);
  return Value::undefined(cat(value.type_name(), " has no element under a ", key.type_name()));
}

Value slice_of(const Value& value, const Value& from, const Value& to, const Value& step, Work& work) {
  require_defined(value);
  if (value.is_list()) {
    work.spend(value.items().size());
    const Range range = range_of(from, to, step, static_cast<std::int64_t>(value.items().size()));
    return Value::list(sliced(value.items(), range), value.kind());
  }
  if (!value.is_text()) throw Failure(cat("no slice of ", value.type_name()));
  work.spend_text(5 * value.text().size());
  const std::u32string characters = decoded(value.text());
  return Value(encoded(sliced(characters, range_of(from, to, step, static_cast<std::int64_t>(characters.size())))));
}

std::string percent_format(const std::string& format, const Values& values, Work& work) {
  constexpr int kWidest = 1000;
  std::string out;
  std::size_t used = 0;
  work.spend_text(format.size());
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    std::string spec = "%";
    int number = 0;
    for (++i; i < format.size() && std::string("-+ #0123456789.").find(format[i]) != std::string::npos; ++i) {
      const bool digit = format[i] >= '0' && format[i] <= '9';
      number = digit ? 10 * number + (format[i] - '0') : 0;
      if (number > kWidest) throw Failure("a width in a format is above 1000");
      spec += format[i];
    }
    if (i == format.size()) throw Failure("a format ends in %");
    const char kind = format[i];
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (used == values.size()) throw Failure("a format has more % than there are values");
    const Value& value = values[used++];
    char made[2 * kWidest + 400];  // a double's 309 digits, point and precision
    int length = -1;
    if (kind == 's' || kind == 'r') {
      const std::string text = kind == 's' ? to_text(value, work) : to_repr(value, work);
      if (spec == "%") {
        out += text;
        continue;
      }
      if (text.size() >= kWidest) throw Failure("a formatted text with a width is above 1000 bytes");
      length = std::snprintf(made, sizeof(made), (spec + "s").c_str(), text.c_str());
    } else if (std::string("diuxXo").find(kind) != std::string::npos && value.is_number()) {
      const double whole = std::trunc(value.number());
      if (!(std::fabs(whole) < 9e18)) throw Failure("an integer is out of range");
      const long long integer = value.is_integer() ? value.integer() : static_cast<long long>(whole);
      length = std::snprintf(made, sizeof(made), (spec + "ll" + (kind == 'u' ? 'd' : kind)).c_str(), integer);
    } else if (std::string("eEfFgG").find(kind) != std::string::npos && value.is_number()) {
      length = std::snprintf(made, sizeof(made), (spec + kind).c_str(), value.number());
    } else {
      require_defined(value);
      throw Failure(cat("%", kind, " of ", value.type_name(), " is not supported in formats"));
    }
    if (length < 0 || static_cast<std::size_t>(length) >= sizeof(made)) throw Failure("a format is damaged");
    out += made;
  }
  if (used < values.size()) throw Failure("a format has fewer % than there are values");
  return out;
}

}  // namespace wt::jinja
