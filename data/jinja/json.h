// Values and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "data/jinja/value.h"

namespace wt::jinja {

struct JsonStyle {
  bool ascii = false;  // everything beyond it as \uXXXX
  bool sort_keys = false;
  bool lines = false;  // each entry on a line of its own, with `indent` before it
  std::string indent;
  std::string between = ", ", colon = ": ";
};

// As Python's json.dumps writes it. Throws Failure for what JSON has no form for.
std::string to_json(const Value& value, const JsonStyle& style, Work& work);
// Throws Failure for integers beyond 64 bits and for what is deeper than values may be.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace wt::jinja
