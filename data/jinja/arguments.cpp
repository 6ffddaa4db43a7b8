#include "data/jinja/arguments.h"

#include "core/error.h"

namespace wt::jinja {

std::optional<Value> Arguments::next(const std::string& name) {
  std::optional<Value> found;
  if (taken < positional.size()) found = positional[taken++];
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i].first != name) continue;
    if (found) throw Failure(cat(callee, ": ", name, " is given twice"));
    found = named[i].second;
    named.erase(named.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  return found;
}

Value Arguments::next(const std::string& name, Value standard) {
  std::optional<Value> found = next(name);
  return found ? std::move(*found) : std::move(standard);
}

Value Arguments::required(const std::string& name) {
  std::optional<Value> found = next(name);
  if (!found) throw Failure(cat(callee, ": ", name, " is missing"));
  return std::move(*found);
}

std::string Arguments::text(const std::string& name) {
  const Value value = required(name);
  require_defined(value);
  if (!value.is_text()) throw Failure(cat(callee, ": ", name, " must be a str, not ", value.type_name()));
  return value.text();
}

std::string Arguments::text(const std::string& name, const std::string& standard) {
  const Value value = next(name, Value(standard));
  require_defined(value);
  if (!value.is_text()) throw Failure(cat(callee, ": ", name, " must be a str, not ", value.type_name()));
  return value.text();
}

std::int64_t Arguments::integer(const std::string& name, std::int64_t standard) {
  const Value value = next(name, Value(standard));
  require_defined(value);
  if (!value.is_integer()) throw Failure(cat(callee, ": ", name, " must be an int, not ", value.type_name()));
  return value.integer();
}

bool Arguments::flag(const std::string& name, bool standard) {
  return next(name, Value(standard)).truthy();
}

void Arguments::done() const {
  if (taken < positional.size()) throw Failure(cat(callee, ": ", positional.size() - taken, " arguments too many"));
  if (!named.empty()) throw Failure(cat(callee, ": no argument is called ", named.front().first));
}

}  // namespace wt::jinja
