// A stack of L equal transformer blocks that runs over a wave: the backbone without its memory.
// Legend: G layers of the wave, B samples, T rows, D width.
#pragma once

#include <memory>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "layers/config.h"
#include "layers/wave_cells.h"

namespace wt {

// Keys and values of a segment that is being generated. C rows at most, J key/value heads of width K.
struct KeyValueCache {
  Tensor keys, values;  // (L, B, C, J, K)
  Tensor length;        // (B) i32: rows present
  // (B): rows present before and after a call of several rows, on the host. One of a single row does not ask.
  std::vector<std::int32_t> before = {}, after = {};
};

class Blocks {
 public:
  virtual ~Blocks() = default;
  // y_GBTD = Block_l(x_GBTD) for the context's layers, each row attending the earlier rows of its segment. y is written
  // to `out`.
  virtual Var forward(Context& ctx, const WaveCells& cells, const Var& x, const Tensor& out) const = 0;
  // The same for the context's one layer, without gradient: x_1BTD holds the next T rows of each sample, which attend
  // the cache and are added to it (length is the caller's to advance).
  virtual Tensor forward_cached(Context& ctx, const Tensor& x, const KeyValueCache& cache) const = 0;
  // Rows beyond these do not fit a segment; 0: no limit.
  virtual std::int64_t max_rows() const { return 0; }
};

// `prefix` is the published name up to the layer's own part: "model.layers.{l}." or, wrapped in a memory,
// "memory_cell.model.model.layers.{l}.layer.". Registers its parameters with the store.
std::unique_ptr<Blocks> make_llama_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store);
std::unique_ptr<Blocks> make_gpt2_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store);

}  // namespace wt
