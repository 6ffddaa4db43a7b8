// Cosines and sines of rotary positions.
#pragma once

#include <vector>

#include "core/tensor.h"
#include "layers/mixers/attention.h"

namespace wt {

// Angular frequency of each of the R/2 pairs of the `width` R that turns: θ^(-2i/R), changed as the scaling asks.
// "dynamic" (NTK-aware scaling, as Hugging Face's library has it) takes, for n = `rows` above the original length n0,
// θ (f n/n0 - (f - 1))^(R/(R-2)) in place of θ. Source of "llama3": the rule published with Llama 3.1's weights.
std::vector<double> rotary_frequencies(double theta, std::int64_t width, const RopeScaling& scaling,
                                       std::int64_t rows = 0);

// Angles for kernels/rotary.h: a table, and the entry that each cell begins at (undefined: its first).
struct RotaryAngles {
  Tensor cos_sin, first;
};

struct ModelConfig;

// The tables of one kind of attention, made as they are wanted and kept for the next time: one thread at a time.
//
// Dynamic scaling without a memory goes by the rows that a sequence has when it is read, in one call or a row at a
// time, as Hugging Face's library has it for a sequence alone; neither what stands beside it in a batch nor how far it
// may still grow matters. Keys that are in a cache stay as they were turned. With a memory it goes by the rows of a
// full segment.
class RotaryTables {
 public:
  RotaryTables(const AttentionConfig& config, const ModelConfig& model);

  // For cells (G, B) of t rows from their first position on; lengths: rows that each has in use.
  RotaryAngles of_segments(const Stream& stream, const Shape& cells, const std::vector<std::int32_t>& lengths,
                           std::int64_t t, DType dtype) const;
  // For t further rows of each sample, behind `before` rows; it then has `after`.
  RotaryAngles of_further_rows(const Stream& stream, const std::vector<std::int32_t>& before,
                               const std::vector<std::int32_t>& after, std::int64_t t, DType dtype) const;
  // Radians a position, (R/2) f64: not for dynamic scaling.
  Tensor text_frequencies(const Stream& stream) const;
  // Whether several further rows at once need other angles than the same ones in single calls.
  bool by_rows() const { return by_rows_; }
  // For one further row of each sample: entry p is for a row at position p. It holds `rows` entries or more; later
  // calls may make another, and leave it as it is for whoever has it.
  Tensor of_single_rows(const Stream& stream, std::int64_t rows, DType dtype) const;

 private:
  struct Stacked {  // what of_segments() and of_further_rows() gave last, which all layers of a wave ask for
    std::vector<std::int32_t> before, after;
    std::int64_t t = 0;
    RotaryAngles angles;
  };
  std::vector<double> frequencies(std::int64_t rows) const;
  RotaryAngles stacked(const Stream& stream, const Shape& cells, std::vector<std::int32_t> before,
                       std::vector<std::int32_t> after, std::int64_t t, DType dtype) const;

  double theta_;
  RopeScaling scaling_;
  std::int64_t width_;         // R
  std::int64_t segment_rows_;  // of a model with memory, else 0
  bool by_rows_;
  mutable Tensor table_;  // of of_single_rows()
  mutable Stacked last_;
};

// (positions, R): R/2 cosines, then R/2 sines, of position · frequency, computed in double.
Tensor rotary_table(const Stream& stream, const std::vector<double>& frequencies, std::int64_t positions, DType dtype);

}  // namespace wt
