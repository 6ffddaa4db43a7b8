// The optimizer's arithmetic. Legend: E elements of one parameter.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// out[0] = Σ g² over the tensor, in double (out: f64, one element), in a fixed order. Not finite where any element is
// not.
void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out);

// g = clip(g · scale, -limit, limit) elementwise (limit 0: no clipping).
void scale_and_clip(const Stream& stream, const Tensor& g, double scale, double limit);

// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", arXiv 1711.05101), step t = 1, 2, …:
//   m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,
//   w -= lr ( m/(1-β1ᵗ) / (√(v/(1-β2ᵗ)) + eps) + decay · w )
struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0;
  std::int64_t step = 1;
};
// g, m, v, w of one dtype. Where `rounded` is defined (bf16, w's shape) it receives the new w, rounded: the copy that
// computes.
void adamw(const Stream& stream, const AdamWStep& options, const Tensor& g, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& rounded);

}  // namespace wt::kernels
