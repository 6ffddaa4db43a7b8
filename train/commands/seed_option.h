// What the seeds of all commands have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace wt {

// A whole number at least 0, whatever it is stored in: without this check -1 would be taken for the largest one.
inline CLI::Validator seed_check() {
  return CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()).description("");
}

}  // namespace wt
