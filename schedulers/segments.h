// How sequences are cut into segments, and how the segments of a batch are laid out for a plan.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/segment_layout.h"

namespace wt {

// Tokens [begin, begin + length) of a sequence.
struct Segment {
  std::int64_t begin = 0;
  std::int64_t length = 0;
  bool operator==(const Segment&) const = default;
};

// Cuts n tokens into ⌈n / size⌉ segments: all full but the last (left), all full but the first (right), or parts as
// equal as can be, longer ones first (center). n = 0 gives none.
std::vector<Segment> cut_segments(std::int64_t n, std::int64_t size, SegmentAlignment alignment);

// One segment of one sample in the queue of a plan. length 0: this sample has no segment here.
struct SegmentCell {
  std::int32_t sequence = -1;  // number of the sequence in the batch
  std::int32_t index = 0;      // number of the segment in its sequence
  std::int64_t begin = 0;
  std::int64_t length = 0;
  // What grows with the text (layers/state.h): rows of its own text before it, and where that text begins.
  std::int64_t past = 0, origin = 0;
  bool first() const { return index == 0; }
  bool active() const { return length > 0; }
};

// The queue that a plan works through: `items` steps, each one segment of each of `batch` samples. Sequence q stands in
// round q / batch at sample q % batch: a round is one sequence per sample, its steps as many as its longest sequence
// has segments, and rounds follow one another.
struct SegmentGrid {
  int batch = 0;
  std::vector<SegmentCell> cells;      // (items, batch)
  std::vector<int> segments_by_round;  // steps of each round: what a scheduler is given

  int items() const { return batch == 0 ? 0 : static_cast<int>(cells.size()) / batch; }
  const SegmentCell& at(int item, int sample) const {
    return cells[static_cast<std::size_t>(item) * static_cast<std::size_t>(batch) + static_cast<std::size_t>(sample)];
  }
  std::int64_t longest() const;  // tokens of the longest segment

  // Gives the sequences of a lane places one behind another in what grows with a text, where all of them must stay.
  void lay_out(const SegmentLayout& layout);
  // Rows that a lane needs there.
  std::int64_t reserved(const SegmentLayout& layout) const;
};

// `lengths` holds the length of every sequence; their number is a multiple of `batch` or the last round is not full.
SegmentGrid make_grid(const std::vector<std::int64_t>& lengths, int batch, std::int64_t segment_size,
                      SegmentAlignment alignment);

}  // namespace wt
