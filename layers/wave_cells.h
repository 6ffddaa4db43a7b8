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
  // By cell.
  kernels::Cells cells;               // flags_GB, rows_GB, open_GB, past_GB, origin_GB
  Tensor memory_first;                // (G, B) i32: the row of each cell's first memory token behind the others
  std::vector<std::int32_t> lengths;  // (G·B): rows in use, on the host
  std::vector<std::int32_t> before;   // (G·B): rows of open segments that ran before; asked where several run at once
  Tensor number;                      // (G, B) i64: the cell's number in the plan, for dropout; only in training

  // Of all of them.
  bool any_read = false;        // some cell is neither inactive nor the first of its sequence
  bool write = true;            // false: read-only, the segment has no memory rows
  Tensor min_den;               // (1): the smallest memory denominator so far
  kernels::DropoutKey dropout;  // site is the module's to fill in
  // By kind, for a run: what Mixer::constants() gave. Null: not made, a mixer makes its own.
  std::shared_ptr<const std::vector<Tensor>> constants;
  int kind = 0;  // whose cells these are, of those that have a slice of their own

  // What is by cell once more, in the order of kinds; null where that is the order of layers (layers/kinds.h).
  std::shared_ptr<const WaveCells> by_kind;

  bool is_open() const { return cells.open.defined(); }
  Tensor constant() const { return constants ? (*constants)[static_cast<std::size_t>(kind)] : Tensor{}; }
  // Layers [lo, hi) of the wave.
  WaveCells slice(std::int64_t lo, std::int64_t hi) const { return cut(*this, lo, hi); }
  // Places [lo, hi) in the order of kinds.
  WaveCells slice_by_kind(std::int64_t lo, std::int64_t hi) const { return cut(by_kind ? *by_kind : *this, lo, hi); }

 private:
  WaveCells cut(const WaveCells& from, std::int64_t lo, std::int64_t hi) const;
};

inline WaveCells WaveCells::cut(const WaveCells& from, std::int64_t lo, std::int64_t hi) const {
  WaveCells part = *this;
  const auto tensor = [&](const Tensor& whole) { return whole.defined() ? whole.slice(lo, hi) : whole; };
  part.cells = {tensor(from.cells.flags), tensor(from.cells.rows), tensor(from.cells.open), tensor(from.cells.past),
                tensor(from.cells.origin)};
  part.memory_first = tensor(from.memory_first);
  part.number = tensor(from.number);
  const std::int64_t b = from.cells.flags.dim(1);
  const auto list = [&](const std::vector<std::int32_t>& whole) {
    return whole.empty() ? whole : std::vector<std::int32_t>(whole.begin() + lo * b, whole.begin() + hi * b);
  };
  part.lengths = list(from.lengths);
  part.before = list(from.before);
  part.by_kind = nullptr;
  return part;
}

}  // namespace wt
