#include "layers/associative_memory.h"

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "core/fields.h"
#include "layers/builder.h"
#include "layers/model_config.h"

namespace wt {

void describe(Fields& f, ArmtConfig& c) {
  f.integer("segment_size", c.segment_size, count_from(1), "Tokens in a segment", Presence::kRequired);
  f.integer("num_mem_tokens", c.num_mem_tokens, count_from(1), "Memory tokens appended to each segment",
            Presence::kRequired);
  f.integer("d_mem", c.d_mem, count_from(1), "Width of memory keys and queries", Presence::kRequired);
  f.integer("nu", c.nu, from_to(1, 64), "Rotations of the DPFP feature map");
  f.boolean("correction", c.correction, "Correct the denominator for keys written before (gamma)");
  describe(f, c.segment_alignment);
}

AssociativeMemory::AssociativeMemory(const ArmtConfig& config, const Builder& builder) : config_(config) {
  const std::int64_t d = builder.config().hidden_size;
  const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(d)));
  const auto add = [&](const std::string& name, Shape shape, const Init& fresh, bool decay) {
    return &builder.add(name, name, shape, fresh, decay);
  };
  query_ = add("W_mq.weight", {config_.d_mem, d}, init, true);
  key_ = add("W_mk.weight", {config_.d_mem, d}, init, true);
  // Zero values at the start: a fresh memory changes nothing in the backbone.
  value_ = add("W_mv.weight", {d, d}, Init::zeros(), true);
  strength_ = add("W_mb.weight", {1, d}, init, true);
  strength_bias_ = add("W_mb.bias", {1}, init, false);
}

std::vector<StateSpec> AssociativeMemory::state_specs(std::int64_t hidden_size, DType dtype) const {
  const std::int64_t p = config_.num_features();
  return {{.name = "W_mem.{l}", .shape = {p, hidden_size}, .dtype = dtype},
          {.name = "z.{l}", .shape = {p}, .dtype = dtype}};
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

Cost AssociativeMemory::cost(std::int64_t d, std::int64_t rows, std::int64_t past) const {
  const std::int64_t p = config_.num_features(), m = config_.num_mem_tokens, dm = config_.d_mem;
  // Key, value and strength; k into A and z. Query, φ A and φ·z; k A and k·z.
  double flops = 2.0 * static_cast<double>(m) * static_cast<double>(d * dm + d * d + d + p * d + p);
  if (past > 0) {
    flops += 2.0 * static_cast<double>(rows) * static_cast<double>(d * dm + p * d + p) +
             2.0 * static_cast<double>(m) * static_cast<double>(p * d + p);
  }
  return {flops, rows * (d + dm + p + 1) + p * d + p + m * (2 * d + 2 * p + dm)};
}

}  // namespace wt
