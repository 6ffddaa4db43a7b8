// What a wave's layers know of the cells they work on, beside their input and state.
// Legend: G layers of the wave, B samples.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cells.h"
#include "kernels/dropout.h"

namespace wt {

struct WaveCells {
  kernels::Cells cells;               // flags_GB, rows_GB, open_GB
  Tensor memory_first;                // (G, B) i32: the row of each cell's first memory token behind the others
  std::vector<std::int32_t> lengths;  // (G·B): rows in use, on the host
  std::vector<std::int32_t> before;   // (G·B): rows of open segments that ran before; asked where several run at once
  Tensor number;                      // (G, B) i64: the cell's number in the plan, for dropout; only in training
  bool any_read = false;              // some cell is neither inactive nor the first of its sequence
  bool write = true;                  // false: read-only, the segment has no memory rows
  Tensor min_den;                     // (1): the smallest memory denominator so far
  kernels::DropoutKey dropout;        // site is the module's to fill in

  // By kind, for a run: what Mixer::constants() gave. Null: not made, a mixer makes its own.
  std::shared_ptr<const std::vector<Tensor>> constants;
  int kind = 0;  // whose cells these are, of those that have a slice of their own
  // The same cells in the order of kinds; null where that is the order of layers (layers/kinds.h).
  std::shared_ptr<const WaveCells> by_kind;

  bool is_open() const { return cells.open.defined(); }
  Tensor constant() const { return constants ? (*constants)[static_cast<std::size_t>(kind)] : Tensor{}; }
  // Places [lo, hi).
  WaveCells slice(std::int64_t lo, std::int64_t hi) const;
};

inline WaveCells WaveCells::slice(std::int64_t lo, std::int64_t hi) const {
  WaveCells part = *this;
  const auto cut = [&](Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.slice(lo, hi);
  };
  for (Tensor* tensor : {&part.cells.flags, &part.cells.rows, &part.cells.open, &part.memory_first, &part.number}) {
    cut(*tensor);
  }
  const std::int64_t b = cells.flags.dim(1);
  for (std::vector<std::int32_t>* list : {&part.lengths, &part.before}) {
    if (!list->empty()) *list = {list->begin() + lo * b, list->begin() + hi * b};
  }
  part.by_kind = nullptr;
  return part;
}

}  // namespace wt
