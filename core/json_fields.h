// Settings that describe themselves (core/fields.h), as a JSON object and back.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/fields.h"
#include "core/json_object.h"

namespace wt {

// Reads an object into what `describe` describes. Throws Error for an unknown key, a wrong type, a value out of range
// (saying what is allowed) and a missing required key. Keys under excluded() are refused.
void read_json_fields(const JsonObject& object, const Fields::Describe& describe);

// The values, in order, as an object that reads back the same.
nlohmann::ordered_json write_json_fields(const Fields::Describe& describe);

}  // namespace wt
