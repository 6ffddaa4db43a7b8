// The two feed-forward nonlinearities. Legend: R rows, F feed-forward width.
#pragma once

#include "core/tensor.h"

namespace wt::kernels {

// SwiGLU (Shazeer, "GLU variants improve transformer", arXiv 2002.05202): out_RF = silu(gate) ∘ up, where a row of
// gate_up_R(2F) holds gate, then up; silu(u) = u / (1 + e^-u).
void swiglu_forward(const Stream& stream, const Tensor& gate_up, const Tensor& out);
// Overwrites dgate_up_R(2F), which may be gate_up itself.
void swiglu_backward(const Stream& stream, const Tensor& dout, const Tensor& gate_up, const Tensor& dgate_up);

// GELU, tanh form (Hendrycks and Gimpel, arXiv 1606.08415; GPT-2's "gelu_new"):
//   out = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))
void gelu_forward(const Stream& stream, const Tensor& x, const Tensor& out);
// Overwrites dx, which may be dout or x.
void gelu_backward(const Stream& stream, const Tensor& dout, const Tensor& x, const Tensor& dx);

}  // namespace wt::kernels
