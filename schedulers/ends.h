// The ends of a stack: what fills the input of its lowest layer, and what takes the output of its highest. The executor
// and the Reader know of them no more than this.
// Legend: B samples, T rows of a segment, D width, R wanted rows.
#pragma once

#include <utility>
#include <vector>

#include "schedulers/wave_inputs.h"

namespace wt {

// What an end leaves of one wave, for its backward or for the same wave run again with other tokens.
struct EndRecord {
  bool recorded = false;  // backward will come
  bool training = false;  // dropout is on
  WaveCells cells;        // (1, B): of the end's layer
  WaveRecord record;
  EmbeddingRows rows;          // a source's input
  Var carried;                 // the model's own state that came in
  Var out;                     // what the end made of its input
  int in = -1;                 // a sink's input, in `record`
  Tensor chosen;               // (r) i32: rows of the (B·T) that were taken
  std::int64_t chosen_at = 0;  // where their gradients begin, in the order of delivery

  EndRecord() = default;
  // Of layers [layer, layer + 1) of a wave's cells, whose lowest is `lo`.
  EndRecord(const WaveCells& cells, int lo, int layer, bool recorded, bool training);
};

class Source {
 public:
  virtual ~Source() = default;
  // What the host brings for this item. On a record that was filled before, into the same memory.
  virtual void prepare(EndRecord& record, int item) = 0;
  // Fills the slot of the stack's lowest layer, (1, B, T, D). May run again, inside a recording too.
  virtual void fill(EndRecord& record, const Tensor& slot) = 0;
  // The slot's gradient, which the source may keep.
  virtual void backward(EndRecord& record, int item, const Tensor& dslot) = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  // Takes the slot above the stack's highest layer, (1, B, T, D).
  virtual void take(EndRecord& record, int item, const Tensor& slot) = 0;
  // Fills the slot's gradient.
  virtual void gradient(EndRecord& record, const Tensor& dslot) = 0;
};

// Embeds tokens, and puts in what the model itself carries.
class TokenSource final : public Source {
 public:
  // `rows` is T. The sequences are read by prepare() alone.
  TokenSource(const Model& model, const TokenSequences& sequences, const SegmentGrid& grid, std::int64_t rows,
              const State& state);
  void prepare(EndRecord& record, int item) override;
  void fill(EndRecord& record, const Tensor& slot) override;
  void backward(EndRecord& record, int item, const Tensor& dslot) override;
  // Where the gradient of the model's own state goes to, cut as zero_cells() cuts.
  void begin_backward(const State& dstate, int k2);

 private:
  const Model& model_;
  const TokenSequences& sequences_;
  const SegmentGrid& grid_;
  std::int64_t rows_;
  State state_, dstate_;
  int k2_ = 0;
};

// Delivers the chosen rows, and carries what the model itself carries.
class RowSink final : public Sink {
 public:
  // Rows at `places` go to hidden_RD in their order. Throws as sort_places().
  RowSink(const Model& model, const SegmentGrid& grid, const std::vector<TokenPlace>& places, std::int64_t rows,
          const State& state);
  const std::vector<Chosen>& chosen() const { return chosen_; }
  // What was delivered, once: the sink keeps none of it for backward.
  Tensor release_hidden() { return std::exchange(hidden_, {}); }
  void take(EndRecord& record, int item, const Tensor& slot) override;
  void gradient(EndRecord& record, const Tensor& dslot) override;
  // dhidden_RD, and where the gradient of the model's own state comes from.
  void begin_backward(const Tensor& dhidden, const State& dstate);

 private:
  const Model& model_;
  const SegmentGrid& grid_;
  std::vector<Chosen> chosen_;
  Tensor hidden_, dhidden_;
  State state_, dstate_;
  std::vector<std::int32_t> order_;  // chosen rows in the order the waves deliver them -> index in `places`
};

}  // namespace wt
