// Next-token cross-entropy of chosen rows. Legend: R rows, V vocabulary.
//   loss_r = log Σ_v e^{logits_rv} - logits_r[target_r]
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// logits_RV, target_R (i32) -> loss_R, lse_R (the logarithm above), correct_R (u8: the target has the largest logit,
// the first such in a tie). Targets lie in [0, V): the CPU throws on another, CUDA leaves the check to the caller.
void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& target, const Tensor& loss,
                           const Tensor& lse, const Tensor& correct);

// Overwrites dlogits_RV (which may be logits): (softmax(logits_r) - onehot(target_r)) · dloss_R[r].
void cross_entropy_backward(const Stream& stream, const Tensor& dloss, const Tensor& logits, const Tensor& target,
                            const Tensor& lse, const Tensor& dlogits);

}  // namespace wt::kernels
