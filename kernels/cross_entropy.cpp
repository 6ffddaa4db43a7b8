#include "kernels/cross_entropy.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(cross_entropy_forward)
WT_BACKENDS(cross_entropy_backward)

void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& target, const Tensor& loss,
                           const Tensor& lse, const Tensor& correct) {
  const std::int64_t r = logits.dim(0);
  WT_CHECK_SHAPE("cross_entropy", target, r);
  WT_CHECK_SHAPE("cross_entropy", loss, r);
  WT_CHECK_SHAPE("cross_entropy", lse, r);
  WT_CHECK_SHAPE("cross_entropy", correct, r);
  WT_RUN(kHead, cross_entropy_forward, stream, logits, target, loss, lse, correct);
}

void cross_entropy_backward(const Stream& stream, const Tensor& dloss, const Tensor& logits, const Tensor& target,
                            const Tensor& lse, const Tensor& dlogits) {
  const char* op = "cross_entropy backward";
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  WT_CHECK_SHAPE(op, dloss, r);
  WT_CHECK_SHAPE(op, target, r);
  WT_CHECK_SHAPE(op, lse, r);
  WT_CHECK_SHAPE(op, dlogits, r, v);
  WT_CHECK(logits.dtype() == dlogits.dtype() || !logits.overlaps(dlogits), op, ": logits ", logits, " and dlogits ",
           dlogits, " share memory");
  WT_RUN(kHead, cross_entropy_backward, stream, dloss, logits, target, lse, dlogits);
}

}  // namespace wt::kernels
