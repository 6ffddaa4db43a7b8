#pragma once

#include "autograd/tape.h"

namespace wt::ops {

// out_GBMD[g,b,i] = x_GBTD[g,b, first_GB[g,b] + i]: each cell's memory rows.
Var take_rows(Context& ctx, const Var& x, const Tensor& first, std::int64_t count);

// x_..D[target_R[i]] += values_..D[source_R[i]], both seen as lists of rows, each index once in its list. In place.
Var add_rows(Context& ctx, const Var& x, const Var& values, const Tensor& source, const Tensor& target);

}  // namespace wt::ops
