// Reads the last, open segment of each sample and what is generated after it through a key/value cache: without memory
// rows and without a write as in the published wrapper's generation, until close() ends a segment.
// Legend: B samples, M memory rows, D width.
#pragma once

#include <vector>

#include "core/graph.h"
#include "layers/model.h"

namespace wt {

class Decoder {
 public:
  // `state`: the memory after all closed segments, (L, B, …), zero where there was none; nothing but close() changes
  // it, in place. `has_memory[b]`: sample b had at least one closed segment. `capacity`: rows the open segment may grow
  // to, memory rows included where close() is to be called.
  Decoder(const Model& model, State state, const std::vector<bool>& has_memory, std::int64_t capacity);

  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Appends these tokens to each sample's segment (none is allowed) and returns hidden_BD: the last layer's output,
  // before the final norm, at the last token appended so far. Throws Error where the capacity is exceeded.
  Tensor append(const std::vector<std::vector<std::int32_t>>& tokens);

  // Ends the open segment of these samples: its memory rows are run after its tokens, the memory is written, and the
  // next token is the first of an empty segment. What append() returned stays as it is. Throws Error where a segment of
  // any sample leaves no room for M rows, where one to be closed is empty, or where the model has no memory.
  void close(const std::vector<bool>& samples);

  std::int64_t length(int sample) const { return lengths_[static_cast<std::size_t>(sample)]; }
  std::int64_t capacity() const { return cache_.keys.dim(2); }

 private:
  enum class Pass : std::uint8_t { kRead, kClose };
  Tensor run_layers(const EmbeddingRows& rows, const WaveCells& cells, Pass pass);
  Tensor run_single(const EmbeddingRows& rows);

  const Model& model_;
  State state_;
  std::vector<std::uint8_t> flags_;  // kernels::CellFlag bits by sample
  WaveCells cells_;
  KeyValueCache cache_;
  std::vector<std::int32_t> lengths_;  // rows of each sample's segment so far
  Tensor hidden_;
  EmbeddingRows single_rows_;  // what the recorded step reads, and
  Tensor single_out_;          // what it writes
  Graph single_;
};

}  // namespace wt
