// WT_CUDA(call): throws wt::Error with CUDA's own words where a call of the runtime fails. CUDA keeps its last error
// until it is asked for: whoever throws clears it, or the next launch that asks is blamed. For files built with CUDA
// only.
#pragma once

#include <cuda_runtime_api.h>

#include "core/error.h"

#define WT_CUDA(call)                                                                              \
  do {                                                                                             \
    const cudaError_t wt_status = (call);                                                          \
    if (wt_status != cudaSuccess) [[unlikely]]                                                     \
      static_cast<void>(cudaGetLastError());                                                       \
    WT_CHECK(wt_status == cudaSuccess, "CUDA: ", #call, ": ", cudaGetErrorString(wt_status), " (", \
             cudaGetErrorName(wt_status), ")");                                                    \
  } while (false)

namespace wt::cuda {

// While one is there this thread may make calls that a recording (core/graph.h) forbids because they could wait for it,
// such as allocations in another stream.
class AnyTimeCalls {
 public:
  AnyTimeCalls() { exchange(); }
  ~AnyTimeCalls() { exchange(); }
  AnyTimeCalls(const AnyTimeCalls&) = delete;
  AnyTimeCalls& operator=(const AnyTimeCalls&) = delete;

 private:
  void exchange() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace wt::cuda
