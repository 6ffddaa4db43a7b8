// Linear layers of a wave: G weights, one batched matrix product.
// Legend: G layers, R rows, I inputs, O outputs.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// How a weight lies in memory: (O, I) as in Llama and torch.nn.Linear, or (I, O) as in GPT-2's Conv1D.
enum class WeightLayout : std::uint8_t { kOutIn, kInOut };

struct LinearExtents {
  std::int64_t g, r, i, o;
};
// x and y stand for their gradients, too.
inline LinearExtents linear_extents(const Tensor& x, const Tensor& y) {
  return {x.dim(0), x.dim(1), x.dim(2), y.dim(2)};
}

// Instead of all outputs of a weight (O, I), y may have some: rows [first, first + O) of a w_G.I that has more.
inline constexpr std::int64_t kAllOutputs = -1;

// y_GRO = x_GRI · w_GOIᵀ [+ bias_GO] [+ residual_GRO]. Optional inputs may be undefined. y overlaps none of the inputs
// but may be the residual itself. All of one dtype (f32 or f64). Throws Error on a shape or dtype that does not fit.
// constant_weight: no kernel of the stream that may still run writes w, so that it can be fetched before those are
// done.
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const Tensor& bias,
                    const Tensor& residual, const Tensor& y, bool constant_weight = false,
                    std::int64_t first = kAllOutputs);

// dx_GRI (+)= dy_GRO · w_GOI
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, WeightLayout layout,
                           const Tensor& dx, GradMode mode, std::int64_t first = kAllOutputs);

// dw_GOI += dy_GROᵀ · x_GRI, or its transpose for (I, O) weights.
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, WeightLayout layout,
                            const Tensor& dw, std::int64_t first = kAllOutputs);

// dbias_GO += Σ_R dy_GRO
void linear_backward_bias(const Stream& stream, const Tensor& dy, const Tensor& dbias);

}  // namespace wt::kernels
