#include "core/json.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace wt {
namespace {

constexpr int kDeepest = 200;
constexpr int kOutOfRange = 406;  // the parser's number for a number that does not fit

bool nests_too_deep(std::string_view json) {
  int open = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_text = false;
      }
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++open > kDeepest) return true;
    } else if (c == ']' || c == '}') {
      --open;
    }
  }
  return false;
}

// Infinity and -Infinity, which are no JSON but which Python's library writes and reads, as that of Hugging Face spells
// them where it keeps to JSON: {"__float__": "Infinity"}. NaN stays an error.
std::string with_infinity(std::string_view json) {
  constexpr std::string_view kWord = "Infinity";
  std::string out;
  bool in_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (in_text && json[i] == '\\') {
      out += json.substr(i++, 2);
      continue;
    }
    if (json[i] == '"') in_text = !in_text;
    const bool negative = json.substr(i).starts_with("-Infinity");
    if (in_text || !json.substr(i + (negative ? 1 : 0)).starts_with(kWord)) {
      out += json[i];
      continue;
    }
    out += negative ? R"({"__float__": "-Infinity"})" : R"({"__float__": "Infinity"})";
    i += kWord.size() - (negative ? 0 : 1);
  }
  return out;
}

template <class Json>
Json parse(std::string_view text, const std::string& name) {
  check_json_depth(text, name);
  if (text.find("Infinity") != std::string_view::npos) {
    const std::string spelt = with_infinity(text);
    if (spelt != text) return parse<Json>(spelt, name);
  }
  try {
    return Json::parse(text);
  } catch (const typename Json::parse_error& error) {
    throw_json_error(error.id, error.byte, name);
  } catch (const typename Json::out_of_range& error) {
    throw_json_error(error.id, 0, name);
  }
}

}  // namespace

void check_json_depth(std::string_view json, const std::string& name) {
  if (nests_too_deep(json)) throw Error(cat(name, ": lists or objects stand too deep in each other"));
}

void throw_json_error(int parser_error, std::size_t byte, const std::string& name) {
  if (parser_error == kOutOfRange) throw Error(cat(name, ": a number in it is out of range"));
  throw Error(cat(name, ": not valid JSON near byte ", byte));
}

nlohmann::json parse_json(std::string_view text, const std::string& name) {
  return parse<nlohmann::json>(text, name);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& name) {
  return parse<nlohmann::ordered_json>(text, name);
}

}  // namespace wt
