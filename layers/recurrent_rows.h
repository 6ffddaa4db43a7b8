// The memory of the recurrent memory transformer (Bulatov et al., arXiv 2207.06881): the same M rows before and after a
// segment's tokens; what the last layer, normed, makes of those after them are both in the next segment.
// Legend: B samples, T rows, M memory rows, D width.
#pragma once

#include "autograd/tape.h"
#include "layers/norm.h"
#include "layers/segment_layout.h"
#include "layers/state.h"
#include "layers/wave_cells.h"

namespace wt {

class Fields;

struct RmtConfig {
  std::int64_t segment_size = 0;    // N
  std::int64_t num_mem_tokens = 0;  // M
  SegmentAlignment segment_alignment = SegmentAlignment::kLeft;
  bool operator==(const RmtConfig&) const = default;
};
void describe(Fields& fields, RmtConfig& config);

// The state that belongs to no layer: the rows that enter the next segment, (M, D).
StateSpec recurrent_rows_spec(const RmtConfig& config, std::int64_t hidden_size, DType dtype);

// x_BTD, whose carried rows are zeros, with the rows of `carried`, (1, B, M, D), in their places. In x's memory.
Var put_recurrent_rows(Context& ctx, const EmbeddingRows& rows, const Var& x, const Var& carried);

// The rows for the next segment, (1, B, M, D), of the last layer's output y_1BTD: norm(the rows after the tokens).
Var take_recurrent_rows(Context& ctx, const WaveCells& cells, const Norm& norm, const Var& y, std::int64_t count);

}  // namespace wt
