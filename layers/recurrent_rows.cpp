#include "layers/recurrent_rows.h"

#include "autograd/ops/rows.h"
#include "core/fields.h"

namespace wt {

void describe(Fields& f, RmtConfig& c) {
  f.integer("segment_size", c.segment_size, count_from(1), "Tokens in a segment", Presence::kRequired);
  f.integer("num_mem_tokens", c.num_mem_tokens, count_from(1), "Memory tokens before and again after them",
            Presence::kRequired);
  describe(f, c.segment_alignment);
}

StateSpec recurrent_rows_spec(const RmtConfig& config, std::int64_t hidden_size, DType dtype) {
  return {.name = "memory", .shape = {config.num_mem_tokens, hidden_size}, .dtype = dtype};
}

Var put_recurrent_rows(Context& ctx, const EmbeddingRows& rows, const Var& x, const Var& carried) {
  Var out = x;
  for (const Tensor* to : {&rows.carried_before, &rows.carried_after}) {
    if (to->defined()) out = ops::add_rows(ctx, out, carried, rows.carried_from, *to);
  }
  return out;
}

Var take_recurrent_rows(Context& ctx, const WaveCells& cells, const Norm& norm, const Var& y, std::int64_t count) {
  return norm(ctx, ops::take_rows(ctx, y, cells.memory_first, count));
}

}  // namespace wt
