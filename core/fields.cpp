#include "core/fields.h"

#include <cmath>

#include "core/error.h"

namespace wt {
namespace {

std::string number(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  return whole ? std::to_string(static_cast<std::int64_t>(value)) : cat(value);
}

}  // namespace

bool Range::contains(double value) const {
  return (min_open ? value > min : value >= min) && (max_open ? value < max : value <= max);
}

std::string Range::str() const {
  const double infinity = std::numeric_limits<double>::infinity();
  const bool has_min = min != -infinity, has_max = max != infinity;
  if (has_min && has_max && !min_open) return cat("from ", number(min), max_open ? " to below " : " to ", number(max));
  std::string out;
  if (has_min) out = cat(min_open ? "above " : "at least ", number(min));
  if (has_max) out += cat(out.empty() ? "" : " and ", max_open ? "below " : "at most ", number(max));
  return out;
}

std::string Range::str(const char* kind) const {
  const std::string range = str();
  return range.empty() ? kind : cat(kind, " ", range);
}

}  // namespace wt
