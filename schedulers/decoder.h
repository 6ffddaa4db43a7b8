// Reads the last, open segment of each sample and what is generated after it: without memory rows and without a write,
// through a key/value cache (spec of the published wrapper's generation).
// Legend: B samples, D width.
#pragma once

#include <vector>

#include "core/graph.h"
#include "layers/model.h"

namespace wt {

class Decoder {
 public:
  // `state`: the memory after all closed segments, (L, B, …); it is read, never changed. `has_memory[b]`: sample b had
  // at least one closed segment. `capacity`: rows the open segment may grow to.
  Decoder(const Model& model, State state, const std::vector<bool>& has_memory, std::int64_t capacity);

  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Appends these tokens to each sample's segment (none is allowed) and returns hidden_BD: the last layer's output,
  // before the final norm, at the last token appended so far. Throws Error where the capacity is exceeded.
  Tensor append(const std::vector<std::vector<std::int32_t>>& tokens);

  std::int64_t length(int sample) const { return lengths_[static_cast<std::size_t>(sample)]; }
  std::int64_t capacity() const { return cache_.keys.dim(2); }

 private:
  Tensor run_layers(const EmbeddingRows& rows);
  Tensor run_single(const EmbeddingRows& rows);

  const Model& model_;
  State state_;
  WaveCells cells_;
  KeyValueCache cache_;
  std::vector<std::int32_t> lengths_;  // rows of each sample's segment so far
  Tensor hidden_;
  EmbeddingRows single_rows_;  // what the recorded step reads, and
  Tensor single_out_;          // what it writes
  Graph single_;
};

}  // namespace wt
