#include "autograd/ops/embedding.h"

namespace wt::ops {
namespace {

Tensor table(const Parameter* p) {
  return p == nullptr ? Tensor{} : p->value().select(0);
}
Tensor table_grad(const Parameter* p) {
  return p == nullptr || !p->trainable ? Tensor{} : p->grad().select(0);
}

struct Saved {
  EmbeddingTables tables;
  Tensor rows, position;
  int out_id;
  std::vector<Tensor> tensors() const { return {rows, position}; }
};

void backward(BackwardPass& pass, const Saved& s) {
  const Tensor dout = pass.take(s.out_id);
  if (!dout.defined()) return;
  kernels::embedding_backward(pass.stream(), dout, s.rows, s.position, table_grad(s.tables.tokens),
                              table_grad(s.tables.memory), table_grad(s.tables.positions));
}

}  // namespace

Var embedding(Context& ctx, const EmbeddingTables& tables, const Tensor& rows, const Tensor& position,
              const Tensor& out) {
  const OpScope scope("embedding");
  kernels::embedding_forward(ctx.stream, rows, position, table(tables.tokens), table(tables.memory),
                             table(tables.positions), out);
  if (!ctx.recording()) return out;
  const Var result = ctx.record->output(out, true);
  ctx.record->record("embedding", Saved{tables, rows, position, result.id}, backward);
  return result;
}

}  // namespace wt::ops
