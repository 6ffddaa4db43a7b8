// Runs a plan without a tape: prefill, validation, evaluation. Memory does not depend on the number of segments: two
// buffers of hidden states take turns and the state is updated in place. Waves that repeat (in a long sequence almost
// all of them) are recorded once as a CUDA graph and launched again with other tokens, and other lengths of what grows.
// Legend: L layers, B samples, T rows of a segment, D width, R wanted rows.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/graph.h"
#include "layers/model.h"
#include "schedulers/ends.h"
#include "schedulers/work.h"

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
  // `chosen`: what the sink delivers. `state` is advanced; that of a sequence that ends is copied to its place in
  // `kept` (ExecutorOptions::kept). `min_den` (1) receives the smallest memory denominator.
  Reader(const Model& model, const Work& work, Source& source, Sink& sink, const std::vector<Chosen>& chosen,
         const State& state, const Tensor& min_den, std::shared_ptr<const std::vector<Tensor>> constants,
         const std::vector<StatePlace>& kept);
  void run();

 private:
  WaveCells upload(const CellTable& table, const Wave& wave) const;
  const WaveCells& cells_of(const Wave& wave);
  void run_wave(std::size_t w, const WaveCells& cells, EndRecord& source);
  void run_whole(std::size_t w);
  void keep_ended(const Wave& wave);
  std::size_t replay(const Repeat& repeat);
  // The record of a wave's source, with its input, where the wave starts at the lowest layer.
  EndRecord source_of(const Wave& wave, const WaveCells& cells);

  const Model& model_;
  const SegmentGrid& grid_;
  const Plan& plan_;
  Source& source_;
  Sink& sink_;
  const std::vector<Chosen>& chosen_;
  State state_;
  Tensor min_den_;
  std::shared_ptr<const std::vector<Tensor>> constants_;
  const std::vector<StatePlace>& kept_;
  std::array<Tensor, 2> slots_;  // (L + 1, B, T, D): slot l is the input of layer l
  int lo_ = -1, hi_ = -1;        // the wave that cells_ is of
  CellTable table_;              // what cells_ was made from
  WaveCells cells_;
};

}  // namespace wt
