// Low-rank adapters (autograd/ops/low_rank.h) on a block's matrices, as the PEFT library has them: for every target
// module A (r, in), drawn from ±1/√in (kaiming-uniform with a = √5), and B (out, r), zero at the start, so that a fresh
// adapter changes nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/linear.h"
#include "layers/config.h"
#include "layers/wave_cells.h"

namespace wt {

// A published tensor that belongs to an adapter: "<module>.lora_A.weight" or "<module>.lora_B.weight".
bool is_adapter_name(const std::string& published);

// The first target that names no matrix of the blocks registered in the store: its number, and what to say of it.
std::optional<std::pair<std::size_t, std::string>> find_unmatched_target(const LoraConfig& lora,
                                                                         const ParameterStore& store);

class Adapter {
 public:
  // Registers A and B for those published parts of the weight that are targets (a target is a module's name, or the end
  // of it behind a dot). Null where none is, or where the model has no adapters. `site` tells its dropout from others
  // of the block; the parts of one weight share their dropped input.
  static std::unique_ptr<Adapter> make(const ModelConfig& config, const Parameter& weight, kernels::WeightLayout layout,
                                       int site, ParameterStore& store);

  // y + the adapter's share of x, in y's memory.
  Var apply(Context& ctx, const WaveCells& cells, const Var& x, const Var& y) const;

 private:
  Adapter() = default;

  const Parameter *a_ = nullptr, *b_ = nullptr;
  Tensor blocks_;
  double scale_ = 1, dropout_ = 0;
  int site_ = 0;
};

}  // namespace wt
