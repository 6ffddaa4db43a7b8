// What a model keeps of a text it has read, and reading on from there.
// Legend: L layers, B samples, N tokens of a full segment.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/model.h"
#include "schedulers/plan.h"
#include "schedulers/wave_inputs.h"

namespace wt {

// After n tokens the last (n - 1) % N + 1 of them are the open segment: a full segment stays open until another token
// comes, so that its last token can still be continued. A model without memory keeps everything open.
struct Reading {
  State memory;                      // (L, B, …): after the closed segments, zero where there is none
  TokenSequences open;               // by sample: the open segment's tokens
  std::vector<std::int64_t> closed;  // by sample: tokens of the closed segments

  int batch() const { return static_cast<int>(open.size()); }
  std::int64_t tokens(int sample) const {
    const auto at = static_cast<std::size_t>(sample);
    return closed[at] + static_cast<std::int64_t>(open[at].size());
  }
};

// Nothing read yet.
Reading new_reading(const Model& model, int batch);
// The one sample of `reading`, `batch` times, each with a memory of its own.
Reading repeated(const Model& model, const Reading& reading, int batch);

// Goes on with these ids, in [0, V), one list a sample (none is allowed): as if they had stood behind what was read
// before. Segments are left-aligned. Throws Error for an id that is not in the vocabulary, before anything is read.
void read_on(const Model& model, const TokenSequences& ids, Schedule schedule, Reading& reading);

// Reads a text of any length that comes in pieces: as many segments at a time as fill a plan, in memory that does not
// depend on the text's length (a model without memory keeps all of it).
class PieceReader {
 public:
  // `reading` is of one sample and must outlive this.
  PieceReader(const Model& model, Schedule schedule, Reading& reading);
  void push(const std::vector<std::int32_t>& ids);
  // Reads what was held back; push() may follow.
  void finish();

 private:
  const Model& model_;
  Schedule schedule_;
  Reading& reading_;
  std::size_t piece_;  // tokens
  std::vector<std::int32_t> waiting_;
};

}  // namespace wt
