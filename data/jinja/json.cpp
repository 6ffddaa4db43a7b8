#include "data/jinja/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

std::string code_unit(char32_t c) {
  return "\\u" + escaped(0x10000u + c).substr(6);
}

class Writer {
 public:
  Writer(const JsonStyle& style, Work& work) : style_(style), work_(work) {}

  void write(const Value& value, int level) {
    work_.spend(1);
    switch (value.kind()) {
      case Value::Kind::kNone:
        out_ += "null";
        return;
      case Value::Kind::kBool:
        out_ += value.truthy() ? "true" : "false";
        return;
      case Value::Kind::kInt:
        out_ += std::to_string(value.integer());
        return;
      case Value::Kind::kFloat: {
        const std::string text = float_repr(value.number());
        out_ += text == "nan" ? "NaN" : text == "inf" ? "Infinity" : text == "-inf" ? "-Infinity" : text;
        return;
      }
      case Value::Kind::kText:
        write_text(value.text());
        return;
      case Value::Kind::kList:
      case Value::Kind::kTuple:
        write_all(value.items(), "[]", level, [&](const Value& item) { write(item, level + 1); });
        return;
      case Value::Kind::kDict: {
        std::vector<const Entries::value_type*> order;
        for (const auto& entry : value.entries()) order.push_back(&entry);
        if (style_.sort_keys) {
          std::stable_sort(order.begin(), order.end(),
                           [&](const auto* a, const auto* b) { return compare(a->first, b->first, work_) < 0; });
        }
        write_all(order, "{}", level, [&](const auto* entry) {
          write_key(entry->first, level);
          out_ += style_.colon;
          write(entry->second, level + 1);
        });
        return;
      }
      case Value::Kind::kUndefined:
        require_defined(value);
        return;
      case Value::Kind::kObject:
        throw Failure(cat("tojson: there is no JSON for ", value.object()->name()));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  template <class All, class One>
  void write_all(const All& all, const char* brackets, int level, const One& one) {
    out_ += brackets[0];
    bool first = true;
    for (const auto& item : all) {
      if (!first) out_ += style_.between;
      first = false;
      begin_line(level + 1);
      one(item);
    }
    if (!first) begin_line(level);
    out_ += brackets[1];
  }

  // Keys are texts: numbers, true, false and null are written as one.
  void write_key(const Value& key, int level) {
    if (key.is_text()) return write_text(key.text());
    out_ += '"';
    write(key, level);
    out_ += '"';
  }

  void begin_line(int level) {
    if (!style_.lines) return;
    work_.spend_text(style_.indent.size() * static_cast<std::size_t>(level));
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void write_text(const std::string& text) {
    work_.spend_text(6 * text.size());
    out_ += '"';
    for (const char32_t c : decoded(text)) {
      switch (c) {
        case U'"':
          out_ += "\\\"";
          break;
        case U'\\':
          out_ += "\\\\";
          break;
        case U'\n':
          out_ += "\\n";
          break;
        case U'\r':
          out_ += "\\r";
          break;
        case U'\t':
          out_ += "\\t";
          break;
        case U'\f':
          out_ += "\\f";
          break;
        case U'\b':
          out_ += "\\b";
          break;
        default:
          if (c < 0x20 || (style_.ascii && c > 0x7E && c < 0x10000)) {
            out_ += code_unit(c);
          } else if (style_.ascii && c >= 0x10000) {
            out_ += code_unit(0xD800 + ((c - 0x10000) >> 10));
            out_ += code_unit(0xDC00 + ((c - 0x10000) & 0x3FF));
          } else {
            out_ += encoded(std::u32string(1, c));
          }
      }
    }
    out_ += '"';
  }

  const JsonStyle& style_;
  Work& work_;
  std::string out_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style, Work& work) {
  Writer writer(style, work);
  writer.write(value, 0);
  return writer.take();
}

Value from_json(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
        throw Failure("an integer is out of range");
      return Value(json.get<std::int64_t>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<std::int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get<std::string>());
    case nlohmann::ordered_json::value_t::array: {
      Values items;
      for (const auto& item : json) items.push_back(from_json(item));
      return Value::list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Entries entries;
      for (const auto& [key, item] : json.items()) entries.emplace_back(key, from_json(item));
      return Value::dict(std::move(entries));
    }
    default:
      return {};
  }
}

}  // namespace wt::jinja
