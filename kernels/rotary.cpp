#include "kernels/rotary.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(rotary)

void rotary(const Stream& stream, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first,
            bool inverse, const RotaryOptions& options) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3), r = cos_sin.dim(1);
  RotaryOptions all = options;
  if (all.head_width == 0) all.head_width = r;
  WT_CHECK(r % 2 == 0 && heads * all.head_width <= w, "rotary: ", heads, " heads of width ", all.head_width,
           " in rows of ", w);
  WT_CHECK(r <= all.head_width, "rotary: ", r, " elements of heads of width ", all.head_width);
  if (first.defined()) {
    WT_CHECK(first.shape() == (Shape{b}) || first.shape() == (Shape{g, b}), "rotary: first is ", first,
             ", expected [B=", b, "] or [G=", g, ", B=", b, "]");
  } else {
    WT_CHECK(t <= cos_sin.dim(0), "rotary: position ", t - 1, " is beyond the table of ", cos_sin.dim(0));
  }
  WT_CHECK(all.past.defined() == all.frequencies.defined(), "rotary: past and frequencies go together");
  if (all.past.defined()) {
    WT_CHECK_SHAPE("rotary", all.past, g, b);
    WT_CHECK_SHAPE("rotary", all.frequencies, r / 2);
  }
  WT_RUN(kAttention, rotary, stream, qkv, heads, cos_sin, first, inverse, all);
}

}  // namespace wt::kernels
