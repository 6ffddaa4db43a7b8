// One step of a plan: a contiguous range of layers, each with the segment it works on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace wt {

// Layers [lo, hi) run together as one batched call per operation. Layer lo + g works on item `items[g]`, the running
// number of a segment in the plan's queue (one sequence's segments, or those of several sequences back to back).
struct Wave {
  int lo = 0;
  int hi = 0;
  std::vector<std::int32_t> items;

  int size() const { return hi - lo; }
  std::int32_t item_of(int layer) const { return items[static_cast<std::size_t>(layer - lo)]; }
  bool operator==(const Wave&) const = default;
  std::string str() const { return cat("layers [", lo, ",", hi, ")"); }
};

}  // namespace wt
