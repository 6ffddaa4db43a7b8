// The methods of Python's str, dict and list that a template may call: those that change nothing.
#pragma once

#include <string>

#include "data/jinja/value.h"

namespace wt::jinja {

// value.name as something to call; undefined where there is no such method.
Value method_of(const Value& value, const std::string& name);
// What to say where neither method nor key is there.
std::string missing_attribute(const Value& value, const std::string& name);

}  // namespace wt::jinja
