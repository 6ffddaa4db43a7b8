// What stands behind "|": Jinja's filters, and tojson as transformers has it (nothing is escaped for HTML).
#pragma once

#include <map>
#include <string>

#include "data/jinja/evaluate.h"

namespace wt::jinja {

// value | name(given). Throws Failure where no filter is called so, and for values it is not made for.
Value apply_filter(const std::string& name, const Value& value, Arguments& given, Evaluator& evaluator);

using Filters = std::map<std::string, Value (*)(const Value& value, Arguments& given, Evaluator& evaluator)>;
const Filters& text_filters();      // that make or read text and numbers
const Filters& sequence_filters();  // that go through several values

}  // namespace wt::jinja
