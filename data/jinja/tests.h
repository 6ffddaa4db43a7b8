// What stands behind "is": Jinja's tests.
#pragma once

#include <string>

#include "data/jinja/evaluate.h"

namespace wt::jinja {

// `value is name(given)`. Throws Failure where no test is called so.
bool apply_test(const std::string& name, const Value& value, Arguments& given, Evaluator& evaluator);

}  // namespace wt::jinja
