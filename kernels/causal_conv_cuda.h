// The convolution of some of a matrix's channels. Private to the kernels.
#pragma once

#include "core/tensor.h"
#include "kernels/cells.h"

namespace wt::kernels::cuda {

struct ChannelRange {
  std::int64_t first, count;
};
// As causal_conv_forward, but that y has the channels of the range alone, and tail_out is written for these only.
void causal_conv_channels(const char* op, const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const ChannelRange& range,
                          const Tensor& y, const Tensor& tail_out);

}  // namespace wt::kernels::cuda
