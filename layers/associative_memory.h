// The memory around every block of ARMT (kernels/memory.h has the equations): read before the block, written after it
// from the memory rows of the block's output.
// Legend: G layers of the wave, B samples, T rows, M memory rows, D width, d = d_mem, P features.
#pragma once

#include <vector>

#include "autograd/ops/memory.h"
#include "autograd/parameter.h"
#include "layers/mixer.h"
#include "layers/segment_layout.h"

namespace wt {

class Builder;
class Fields;

struct ArmtConfig {
  std::int64_t segment_size = 0;    // N: tokens in a full segment
  std::int64_t num_mem_tokens = 0;  // M: memory tokens appended to each segment
  std::int64_t d_mem = 0;           // d: width of memory keys and queries before the feature map
  std::int64_t nu = 3;              // rotations of the DPFP feature map
  bool correction = true;           // gamma as in the paper; false: gamma = 1
  SegmentAlignment segment_alignment = SegmentAlignment::kLeft;

  // P: width of a memory key after the feature map.
  std::int64_t num_features() const { return 2 * nu * d_mem; }
  bool operator==(const ArmtConfig&) const = default;
};
void describe(Fields& fields, ArmtConfig& config);

class AssociativeMemory {
 public:
  // Registers W_mq, W_mk, W_mv, W_mb.
  AssociativeMemory(const ArmtConfig& config, const Builder& builder);

  // A (P, D) and z (P) of a layer and sample.
  std::vector<StateSpec> state_specs(std::int64_t hidden_size, DType dtype) const;
  // x_GBTD -> x + read. Without a cell that has anything to read, x itself.
  Var read(Context& ctx, const WaveCells& cells, const Var& x, const ops::MemoryState& state) const;
  // The state after writing the memory rows of y_GBTD; its tensors are a_out_GBPD and z_out_GBP.
  ops::MemoryState write(Context& ctx, const WaveCells& cells, const Var& y, const ops::MemoryState& state,
                         const Tensor& a_out, const Tensor& z_out) const;
  // Of a cell of `rows` rows. Without rows before it the memory is empty: nothing is read, and nothing corrected.
  Cost cost(std::int64_t hidden_size, std::int64_t rows, std::int64_t past) const;

 private:
  ArmtConfig config_;
  Parameter *query_, *key_, *value_, *strength_, *strength_bias_;
};

}  // namespace wt
