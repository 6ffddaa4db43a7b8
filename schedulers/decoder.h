// Reads the last, open segment of each sample and what is generated after it, row by row: without memory rows and
// without a write as in the published wrapper's generation, until close() ends a segment. Legend: B samples, M memory
// rows, D width.
#pragma once

#include <vector>

#include "core/graph.h"
#include "layers/model.h"

namespace wt {

class Decoder {
 public:
  // `state`: that after all closed segments, zero where there was none; nothing but close() changes it, in place.
  // `past[b]`: rows of sample b's closed segments (Model::closed_rows). `capacity`: rows the open segment may grow to,
  // memory rows included where close() is to be called.
  Decoder(const Model& model, State state, const std::vector<std::int64_t>& past, std::int64_t capacity);

  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Appends these tokens to each sample's segment (none is allowed) and returns hidden_BD: the last layer's output,
  // before the final norm, at the last token appended so far. Throws Error where the capacity is exceeded.
  Tensor append(const std::vector<std::vector<std::int32_t>>& tokens);

  // Ends the open segment of these samples: its memory rows, where the model has some, are run after its tokens, the
  // memory is written, and the next token is the first of an empty segment. What append() returned stays as it is.
  // Throws Error where a segment of any sample leaves no room for M rows, or for what grows with the text, where one to
  // be closed is empty, or where the model is not recurrent.
  void close(const std::vector<bool>& samples);

  // The state after all closed segments: the one that was given, and where it grows perhaps in other memory.
  const State& state() const { return closed_; }

  // Not recurrent: forgets the tokens of these samples, so that the next ones are the first.
  void clear(const std::vector<bool>& samples);

  // Tokens so far, and at most. (RMT's memory rows before them are not counted.)
  std::int64_t length(int sample) const { return lengths_[static_cast<std::size_t>(sample)] - before_; }
  std::int64_t capacity() const { return capacity_ - before_; }

 private:
  Tensor run_rows(const std::vector<SampleRows>& samples, std::int64_t t, WaveCells& cells);
  Tensor run_layers(const EmbeddingRows& rows, const WaveCells& cells);
  Tensor run_single();
  void begin_segments(const std::vector<bool>& samples);
  void run_memory_rows(const std::vector<bool>& samples);
  void reserve(std::int64_t rows);
  bool carried(std::size_t sample) const;

  const Model& model_;
  State closed_, open_;              // after the closed segments; and after the rows of the open ones
  std::int64_t before_, capacity_;   // memory rows before the tokens; rows, with these
  std::vector<std::uint8_t> flags_;  // kernels::CellFlag bits by sample
  WaveCells cells_;
  std::vector<std::int32_t> lengths_;  // rows of each sample's segment so far
  std::vector<std::int32_t> past_;     // and of its closed segments
  Tensor hidden_;

  // A step of one row for each sample reads these i32 (5, B), one upload: rows so far (cells_.cells.open), rows of the
  // step (cells_.cells.rows), rows of closed segments (cells_.cells.past), and single_rows_: token id, position.
  Tensor inputs_;
  EmbeddingRows single_rows_;
  Tensor single_out_;        // what the recorded step writes
  bool single_ran_ = false;  // unrecorded, so that every library has its plans
  bool records_;             // not on a CPU, nor once there was no memory for it
  Graph single_;
};

}  // namespace wt
