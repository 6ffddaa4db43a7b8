// Dropout with counter-based random numbers (core/random.h): whether an element is kept is a function of the seed, the
// training step, the place in the model and the element's own coordinates, so all schedules, a recomputed wave and a
// resumed run drop the same elements.
// Legend: G layers, B samples, E elements of a cell.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

struct DropoutKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;  // optimizer step (times accumulation, plus the micro-batch)
  int site = 0;            // which dropout of the block, below 16
};

// A cell's numbers are 2^28 blocks of four of the stream.
inline constexpr int kDropoutCellShift = 28;
inline constexpr std::int64_t kMaxDropoutElements = std::int64_t{4} << kDropoutCellShift;

// y = x ∘ keep / (1 - p), in place or not. cell_GB (i64) numbers the cells of the whole run of a plan: distinct for
// every (layer, item, sample). The gradient is the same call on dy. 0 <= p < 1, E <= kMaxDropoutElements.
void dropout(const Stream& stream, const Tensor& x, const Tensor& cell, double p, const DropoutKey& key,
             const Tensor& y);

}  // namespace wt::kernels
