#pragma once

#include "autograd/tape.h"

namespace wt::ops {

// loss_R = -log softmax(logits_RV)[target_R] (kernels/cross_entropy.h). correct_R (u8) tells where the target has the
// largest logit.
struct CrossEntropy {
  Var loss;
  Tensor correct;
};
CrossEntropy cross_entropy(Context& ctx, const Var& logits, const Tensor& target);

}  // namespace wt::ops
