#pragma once

#include "autograd/tape.h"

namespace wt::ops {

// out_GBMD[g,b,i] = x_GBTD[g,b, first_GB[g,b] + i]: each cell's memory rows.
Var take_rows(Context& ctx, const Var& x, const Tensor& first, std::int64_t count);

}  // namespace wt::ops
