#pragma once

#include "autograd/tape.h"

namespace wt::ops {

// out = x + y, equal shapes, written to `out` (new memory where undefined; it overlaps neither).
Var add(Context& ctx, const Var& x, const Var& y, const Tensor& out = {});

}  // namespace wt::ops
