#pragma once

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/embedding.h"

namespace wt::ops {

// The tables an input row is made of; memory and positions may be null.
struct EmbeddingTables {
  const Parameter* tokens = nullptr;
  const Parameter* memory = nullptr;
  const Parameter* positions = nullptr;
};

// out_BTD from rows_BT and position_BT (kernels/embedding.h), written to `out`.
Var embedding(Context& ctx, const EmbeddingTables& tables, const Tensor& rows, const Tensor& position,
              const Tensor& out);

}  // namespace wt::ops
