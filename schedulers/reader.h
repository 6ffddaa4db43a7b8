// Runs a plan without a tape: prefill, validation, evaluation. Memory does not depend on the number of segments: two
// buffers of hidden states take turns and the state is updated in place. Waves that repeat (in a long sequence almost
// all of them) are recorded once as a CUDA graph and launched again with other tokens.
// Legend: L layers, B samples, T rows of a segment, D width, R wanted rows.
#pragma once

#include <array>
#include <vector>

#include "core/graph.h"
#include "layers/model.h"
#include "schedulers/plan.h"
#include "schedulers/wave_inputs.h"

namespace wt {

// Waves [begin, end) of a plan, each of which does the same work as the one `period` waves before it, with other
// tokens: equal layers, every cell at work on a full segment that is not its sequence's first, no output wanted.
// `period` is even, so that a wave and its repetition use the same of the two buffers.
struct Repeat {
  std::size_t begin = 0, end = 0, period = 0;
  bool operator==(const Repeat&) const = default;
};
// In order, not overlapping, each at least four periods long.
std::vector<Repeat> find_repeats(const Plan& plan, const SegmentGrid& grid, const std::vector<Chosen>& chosen);

class Reader {
 public:
  // `hidden` (R, D) receives the wanted rows, `min_den` (1) the smallest memory denominator. `state` is advanced; that
  // of a sequence that ends is copied to its place in `kept` (ExecutorOptions::kept).
  Reader(const Model& model, const TokenSequences& sequences, const SegmentGrid& grid, const Plan& plan,
         const std::vector<Chosen>& chosen, State& state, const Tensor& hidden, const Tensor& min_den,
         const std::vector<StatePlace>& kept);
  void run();

 private:
  const WaveCells& cells_of(const Wave& wave);
  EmbeddingRows rows_of(const Wave& wave) const;
  void run_wave(std::size_t w, const WaveCells& cells, const EmbeddingRows& rows);
  void run_whole(std::size_t w);
  void deliver(std::size_t w);
  void keep_ended(const Wave& wave);
  std::size_t replay(const Repeat& repeat);

  const Model& model_;
  const TokenSequences& sequences_;
  const SegmentGrid& grid_;
  const Plan& plan_;
  const std::vector<Chosen>& chosen_;
  State& state_;
  Tensor hidden_, min_den_;
  const std::vector<StatePlace>& kept_;
  std::int64_t rows_;
  std::array<Tensor, 2> slots_;  // (L + 1, B, T, D): slot l is the input of layer l
  CellTable table_;              // what cells_ was made from
  WaveCells cells_;
};

}  // namespace wt
