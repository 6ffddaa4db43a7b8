// What a wave's layers know of the cells they work on, beside their input and state.
// Legend: G layers of the wave, B samples.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/dropout.h"
#include "kernels/memory.h"

namespace wt {

struct WaveCells {
  kernels::Cells cells;               // flags_GB, rows_GB
  Tensor memory_first;                // (G, B) i32: the row of each cell's first memory token
  std::vector<std::int32_t> lengths;  // (G·B): rows in use, on the host
  Tensor number;                      // (G, B) i64: the cell's number in the plan, for dropout; only in training
  bool any_read = false;              // some cell is neither inactive nor the first of its sequence
  bool write = true;                  // false: read-only, the segment has no memory rows
  Tensor min_den;                     // (1): the smallest memory denominator so far
  kernels::DropoutKey dropout;        // site is the block's to fill in
};

}  // namespace wt
