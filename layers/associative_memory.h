// The memory around every block of ARMT (kernels/memory.h has the equations): read before the block, written after it
// from the memory rows of the block's output.
// Legend: G layers of the wave, B samples, T rows, M memory rows, D width, d = d_mem, P features.
#pragma once

#include "autograd/ops/memory.h"
#include "autograd/parameter.h"
#include "layers/config.h"
#include "layers/wave_cells.h"

namespace wt {

class AssociativeMemory {
 public:
  // Registers W_mq, W_mk, W_mv, W_mb under `prefix` ("….layers.{l}.").
  AssociativeMemory(const ModelConfig& config, const std::string& prefix, ParameterStore& store);

  // x_GBTD -> x + read. Without a cell that has anything to read, x itself.
  Var read(Context& ctx, const WaveCells& cells, const Var& x, const ops::MemoryState& state) const;
  // The state after writing the memory rows of y_GBTD; its tensors are a_out_GBPD and z_out_GBP.
  ops::MemoryState write(Context& ctx, const WaveCells& cells, const Var& y, const ops::MemoryState& state,
                         const Tensor& a_out, const Tensor& z_out) const;

 private:
  ArmtConfig config_;
  Parameter *query_, *key_, *value_, *strength_, *strength_bias_;
};

}  // namespace wt
