// A linear layer with what stands before and after it in a decoding step, where a few rows meet all weights and the
// time goes to reading those once. Legend as in kernels/linear.h.
#pragma once

#include "kernels/linear.h"

namespace wt::kernels {

struct FusedLinear {
  Tensor gate{};        // (G, R, W >= I): x ∘ silu(its first I columns) stands for the input x; only with a norm
  Tensor norm{};        // (G, I): the input is RMS-normalised with these weights first; undefined: it is taken as it is
  double eps = 0;       // of the norm
  Tensor bias{};        // (G, O); may be undefined
  bool swiglu = false;  // silu of the first half of the outputs times the second half: y is O/2 wide
  Tensor residual{};    // y's shape, may be y; may be undefined; not with swiglu
  Tensor wide{};        // (G, R, last), wide: takes the last outputs, y the others; not with swiglu or residual
  bool constant_weight = false;  // as in linear_forward
};

// y = [residual +] swiglu?( rms_norm?(x_GRI [∘ silu(gate)]) · w_GOIᵀ [+ bias] ). On CUDA up to four rows are one
// kernel; all else is the kernels of the parts one after another. Between the parts nothing is rounded that need not
// be.
void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y);

// The same by the kernels of the parts, on any device.
void linear_in_parts(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout,
                     const FusedLinear& parts, const Tensor& y);

namespace cuda {
// The one kernel. False, and nothing done, where the shape or alignment is not for it.
bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const FusedLinear& parts, const Tensor& y);
}  // namespace cuda

}  // namespace wt::kernels
