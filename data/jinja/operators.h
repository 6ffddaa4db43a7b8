// Python's operators on values. All throw Failure for kinds they are not made for, for what is undefined, and for
// integers beyond 64 bits.
#pragma once

#include <string>

#include "data/jinja/value.h"

namespace wt::jinja {

// "+", "-", "*", "/", "//", "%", "**"
Value arithmetic(const std::string& op, const Value& a, const Value& b, Work& work);
// "-", "+"
Value signed_value(const std::string& op, const Value& value);
// "==", "!=", "<", "<=", ">", ">=", "in", "not in"
bool compares(const std::string& op, const Value& a, const Value& b, Work& work);

// value.name and value[key]: undefined where there is none; of what is undefined, Failure. A dict's methods come before
// its keys in the first, behind them in the second.
Value attribute_of(const Value& value, const std::string& name);
Value item_of(const Value& value, const Value& key, Work& work);
// value[from:to:step]; None stands for what is not given.
Value slice_of(const Value& value, const Value& from, const Value& to, const Value& step, Work& work);

// The printf way of "%s is %d" % (a, b): %s %r %d %i %u %x %X %o %e %f %g %% with flags, width and precision.
std::string percent_format(const std::string& format, const Values& values, Work& work);

}  // namespace wt::jinja
