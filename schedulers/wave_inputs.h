// What a wave is given besides hidden states: which cells are at work, and the places whose output is wanted.
// Legend: L layers, G layers of a wave, B samples, T rows of a segment.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/wave.h"
#include "layers/model.h"
#include "schedulers/segments.h"

namespace wt {

// A place in the batch: token `position` of sequence `sequence`.
struct TokenPlace {
  std::int32_t sequence = 0;
  std::int64_t position = 0;
};

// Sample `sample` of a state.
struct StatePlace {
  State state;
  int sample = 0;
};

using TokenSequences = std::vector<std::vector<std::int32_t>>;

// Names the wave in the message of whatever fails inside.
class WaveErrorContext final : public ErrorContext {
 public:
  WaveErrorContext(std::size_t number, const Wave& wave) : number_(number), wave_(wave) {}
  std::string describe() const override { return cat("wave ", number_, ", ", wave_); }

 private:
  std::size_t number_;
  const Wave& wave_;
};

// The rows that each item delivers from the top layer.
struct Chosen {
  std::vector<std::int32_t> row;    // in the (B, T) rows of the item
  std::vector<std::int32_t> index;  // in `places`
};

// By item. Throws Error where a place lies in no segment or is given twice. `rows` is T, `first_row` that of a
// segment's first token.
std::vector<Chosen> sort_places(const SegmentGrid& grid, const std::vector<TokenPlace>& places, std::int64_t rows,
                                std::int64_t first_row = 0);

// A wave's cells as numbers, before they go to the device.
struct CellTable {
  std::vector<std::uint8_t> flags;         // (G, B)
  std::vector<std::int32_t> rows, first;   // (G, B): rows in use, first memory row
  std::vector<std::int32_t> past, origin;  // (G, B): as SegmentCell has them
  std::vector<std::int64_t> number;        // (G, B): the cell's number in the plan
  bool any_read = false;
  // All that kernels see, apart from the number and from `past`.
  bool same_work(const CellTable& other) const {
    return flags == other.flags && rows == other.rows && first == other.first && origin == other.origin;
  }
};
CellTable make_cell_table(const Model& model, const SegmentGrid& grid, const Wave& wave);
// On the device, in the order of layers and, for a wave of several kinds, of these. `numbered`: with the cells'
// numbers, which only dropout needs.
WaveCells upload_cells(const Model& model, const CellTable& table, const Wave& wave, std::int64_t batch, bool numbered);
// The table's `past` alone, into cells that were made from a table of the same work and wave.
void upload_past(const Model& model, const CellTable& table, const Wave& wave, const WaveCells& cells);

// Zeroes the state of the wave's cells that start a sequence; with k2 > 0 of all whose number is a multiple of k2 too,
// with the rows before them (the gradient that must not leave a cell backwards). What is not carried is zeroed in all
// cells.
void zero_cells(const SegmentGrid& grid, const Wave& wave, const State& state, int k2);
// Whether zero_cells() takes this one.
bool is_cut(const SegmentCell& cell, int k2);

// Throws Error for an id that is not in the vocabulary: a GPU does not check.
void check_tokens(const Model& model, std::span<const std::int32_t> ids);

Tensor index_tensor(const Stream& stream, const std::vector<std::int32_t>& values);

}  // namespace wt
