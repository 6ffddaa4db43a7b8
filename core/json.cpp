#include "core/json.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace wt {
namespace {

constexpr int kDeepest = 200;

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
  if (nests_too_deep(text)) throw Error(cat(name, ": lists or objects stand too deep in each other"));
  try {
    return Json::parse(text);
  } catch (const typename Json::parse_error& error) {
    throw Error(cat(name, ": not valid JSON near byte ", error.byte));
  } catch (const typename Json::out_of_range&) {
    throw Error(cat(name, ": a number in it is out of range"));
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& name) {
  return parse<nlohmann::json>(text, name);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& name) {
  return parse<nlohmann::ordered_json>(text, name);
}

}  // namespace wt
