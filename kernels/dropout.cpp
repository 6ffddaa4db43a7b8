#include "kernels/dropout.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(dropout)

void dropout(const Stream& stream, const Tensor& x, const Tensor& cell, double p, const DropoutKey& key,
             const Tensor& y) {
  const std::int64_t cells = cell.numel();
  WT_CHECK(p >= 0 && p < 1, "dropout: p is ", p, ", expected 0 <= p < 1");
  WT_CHECK(x.shape() == y.shape() && cells > 0 && x.numel() % cells == 0, "dropout: x is ", x, ", y ", y, " for ",
           cells, " cells");
  WT_CHECK(key.site >= 0 && key.site < 16, "dropout: site ", key.site, " is not below 16");
  const std::int64_t elements = x.numel() / cells;
  WT_CHECK(elements <= kMaxDropoutElements, "dropout: ", elements, " elements in a cell, at most ", kMaxDropoutElements,
           " have random numbers of their own");
  WT_RUN(kElementwise, dropout, stream, x, cell, p, key, y);
}

}  // namespace wt::kernels
