#include "layers/associative_memory.h"

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"

namespace wt {

AssociativeMemory::AssociativeMemory(const ModelConfig& config, const std::string& prefix, ParameterStore& store)
    : config_(config.armt) {
  const std::int64_t d = config.hidden_size;
  const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(d)));
  const auto add = [&](const std::string& name, Shape shape, const Init& fresh, bool decay) -> Parameter& {
    return store.add({"layers." + name, config.num_layers, shape, {{prefix + name, 0, shape[0], fresh}}, decay});
  };
  query_ = &add("W_mq.weight", {config_.d_mem, d}, init, true);
  key_ = &add("W_mk.weight", {config_.d_mem, d}, init, true);
  // Zero values at the start: a fresh memory changes nothing in the backbone.
  value_ = &add("W_mv.weight", {d, d}, Init::zeros(), true);
  strength_ = &add("W_mb.weight", {1, d}, init, true);
  strength_bias_ = &add("W_mb.bias", {1}, init, false);
}

Var AssociativeMemory::read(Context& ctx, const WaveCells& cells, const Var& x, const ops::MemoryState& state) const {
  if (!cells.any_read) return x;
  const Var phi = ops::dpfp(ctx, ops::linear(ctx, x, *query_), config_.nu);
  return ops::memory_read(ctx, x, phi, state, cells.cells, cells.min_den);
}

ops::MemoryState AssociativeMemory::write(Context& ctx, const WaveCells& cells, const Var& y,
                                          const ops::MemoryState& state, const Tensor& a_out,
                                          const Tensor& z_out) const {
  const Var rows = ops::take_rows(ctx, y, cells.memory_first, config_.num_mem_tokens);
  const Var keys = ops::dpfp(ctx, ops::linear(ctx, rows, *key_), config_.nu);
  const Var values = ops::linear(ctx, rows, *value_);
  const Var logits = ops::linear(ctx, rows, *strength_, {.bias = strength_bias_});
  return ops::memory_write(ctx, keys, values, logits, state, cells.cells, config_.correction, a_out, z_out,
                           cells.min_den);
}

}  // namespace wt
