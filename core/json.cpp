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

template <class Json>
Json parse(std::string_view text, const std::string& name) {
  check_json_depth(text, name);
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
