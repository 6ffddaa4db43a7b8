// WT_CUDA(call): throws wt::Error with CUDA's own words where a call of the runtime fails. For files built with CUDA
// only.
#pragma once

#include <cuda_runtime_api.h>

#include "core/error.h"

#define WT_CUDA(call)                                                                              \
  do {                                                                                             \
    const cudaError_t wt_status = (call);                                                          \
    WT_CHECK(wt_status == cudaSuccess, "CUDA: ", #call, ": ", cudaGetErrorString(wt_status), " (", \
             cudaGetErrorName(wt_status), ")");                                                    \
  } while (false)
