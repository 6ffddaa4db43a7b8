// What a function, method, filter or test was given, taken by the names that Python has for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja/value.h"

namespace wt::jinja {

struct Arguments {
  std::string callee;  // for errors
  Values positional;
  std::vector<std::pair<std::string, Value>> named;

  // The next one: by position, else under this name. Throws Failure where it was given both ways.
  std::optional<Value> next(const std::string& name);
  Value next(const std::string& name, Value standard);
  Value required(const std::string& name);
  // These also throw Failure where it is of another kind.
  std::string text(const std::string& name);
  std::string text(const std::string& name, const std::string& standard);
  std::int64_t integer(const std::string& name, std::int64_t standard);
  bool flag(const std::string& name, bool standard);
  // Throws Failure where one is left.
  void done() const;

  std::size_t taken = 0;  // of those given by position
};

}  // namespace wt::jinja
