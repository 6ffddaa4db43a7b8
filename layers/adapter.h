// Low-rank adapters (autograd/ops/low_rank.h) on a block's matrices, as the PEFT library has them: for every target
// module A (r, in), drawn from ±1/√in (kaiming-uniform with a = √5), and B (out, r), zero at the start, so that a fresh
// adapter changes nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "layers/wave_cells.h"

namespace wt {

class Fields;

// Low-rank adapters on the blocks' matrices: W + alpha / rank · B A in place of W.
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;                // rate on the adapters' input
  std::vector<std::string> targets;  // modules: "q_proj", or with more of the path, "self_attn.q_proj"

  double scale() const { return alpha / static_cast<double>(rank); }
  bool operator==(const LoraConfig&) const = default;
};
void describe(Fields& fields, LoraConfig& config);

// The first target that names no matrix of the blocks registered in the store: its number, and what to say of it.
std::optional<std::pair<std::size_t, std::string>> find_unmatched_target(const LoraConfig& lora,
                                                                         const ParameterStore& store);

class Adapter {
 public:
  // Registers A and B for those published parts of the weight that are targets (a target is a module's name, or the end
  // of it behind a dot). Null where none is. `site` tells its dropout from others of the block; the parts of one weight
  // share their dropped input.
  static std::unique_ptr<Adapter> make(const LoraConfig& lora, const Parameter& weight, int site,
                                       ParameterStore& store);

  // y + the adapter's share of x, in y's memory. `first` as in ops::low_rank().
  Var apply(Context& ctx, const WaveCells& cells, const Var& x, const Var& y,
            std::int64_t first = kernels::kAllOutputs) const;

  // Elements of a layer's A and B.
  std::int64_t num_weights() const { return a_->spec().shape.numel() + b_->spec().shape.numel(); }

 private:
  Adapter() = default;

  const Parameter *a_ = nullptr, *b_ = nullptr;
  Tensor blocks_;
  double scale_ = 1, dropout_ = 0;
  int site_ = 0;
};

}  // namespace wt
