// What kernels know of the cells of a wave: (layer, segment) of every sample. Legend: G layers, B samples.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

enum CellFlag : std::uint8_t {
  kCellActive = 1,  // there is a segment; without it the state stays as it is
  kCellFirst = 2,   // the first segment of its sequence: the state is empty
};

struct Cells {
  Tensor flags;   // (G, B) u8: CellFlag bits
  Tensor rows;    // (G, B) i32: rows that hold tokens or memory tokens; the rest is padding, which reaches no state
  Tensor open{};  // (G, B) i32: rows of the segment that ran before these; undefined where a segment runs whole
};

}  // namespace wt::kernels
