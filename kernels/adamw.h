// The optimizer's arithmetic. Legend: E elements of one parameter.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// out[0] = Σ g² over the tensor, in double (out: f64, one element), in a fixed order. Not finite where any element is
// not.
void sum_of_squares(const Stream& stream, const Tensor& g, const Tensor& out);

// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", arXiv 1711.05101), step t = 1, 2, …:
//   g = clip(scale · dw, -limit, limit)   (limit 0: no clipping)
//   m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,
//   w -= lr ( m/(1-β1ᵗ) / (√(v/(1-β2ᵗ)) + eps) + decay · w )
struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0, scale = 1, limit = 0;
  std::int64_t step = 1;
};
// dw, m, v, w of one dtype; or w in bf16 with `low` (i16), the other half of its f32 values (core/split_float.h), and
// the rest in f32. dw is only read.
void adamw(const Stream& stream, const AdamWStep& options, const Tensor& dw, const Tensor& m, const Tensor& v,
           const Tensor& w, const Tensor& low);

}  // namespace wt::kernels
