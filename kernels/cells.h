// What kernels know of the cells of a wave: (layer, segment) of every sample. Legend: G layers, B samples.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

enum CellFlag : std::uint8_t {
  kCellActive = 1,  // there is a segment; without it the state stays as it is
  kCellFirst = 2,   // the first segment of its sequence: the state is empty
};

// All (G, B), and i32 but for the flags.
struct Cells {
  Tensor flags;   // u8: CellFlag bits
  Tensor rows;    // rows that hold tokens or memory tokens; the rest is padding, which reaches no state. 0: inactive
  Tensor open{};  // rows of the segment that ran before these; undefined where a segment runs whole
  // Of texts whose rows stay (kernels/text_attention.h); undefined where no mixer of the model asks.
  Tensor past{};    // rows of the text before this segment
  Tensor origin{};  // row of the cache where the text begins
};

}  // namespace wt::kernels
