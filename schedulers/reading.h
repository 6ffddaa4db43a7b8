// What a model keeps of a text it has read, and reading on from there.
// Legend: L layers, B samples, N tokens of a full segment.
#pragma once

#include <cstdint>
#include <functional>
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

// Reads whole texts, any number of them, `lanes` side by side. kStreaming: along one plan, in rounds of `lanes` texts
// of about the same length, the longest first, whose waves overlap: none but the plan's first and last L - 1 is short.
// kSequential: in the same rounds. kDiagonal: in their order, a plan for each `lanes` texts. Returns what is kept of
// each `lanes` texts, in their order (of the last ones perhaps fewer). Throws as read_on().
std::vector<Reading> read_texts(const Model& model, TokenSequences texts, int lanes, Schedule schedule);
// Closed segments for each lane that make the short waves of one plan cost little. More at once gain nothing.
std::int64_t segments_to_stream(const Model& model);

// The next ids of a text that comes in pieces, at least one; none: the text has ended.
using NextTokens = std::function<std::vector<std::int32_t>()>;
// read_on() with texts of any length, one for each sample: in memory that does not depend on their lengths. (A model
// without memory keeps all of it, or its window: then `open` holds the last tokens only.)
void read_in_pieces(const Model& model, const std::vector<NextTokens>& texts, Schedule schedule, Reading& reading);

}  // namespace wt
