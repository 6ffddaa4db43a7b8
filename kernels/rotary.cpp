#include "kernels/rotary.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(rotary)

void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first,
            bool inverse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), k = cos_sin.dim(1);
  WT_CHECK(k % 2 == 0 && heads * k <= w, "rotary: ", heads, " heads of width ", k, " in rows of ", w);
  if (first.defined()) {
    WT_CHECK(first.shape() == (Shape{b}) || first.shape() == (Shape{g, b}), "rotary: first is ", first,
             ", expected [B=", b, "] or [G=", g, ", B=", b, "]");
  } else {
    WT_CHECK(t <= cos_sin.dim(0), "rotary: position ", t - 1, " is beyond the table of ", cos_sin.dim(0));
  }
  WT_RUN(kAttention, rotary, stream, qkv, heads, cos_sin, first, inverse);
}

}  // namespace wt::kernels
