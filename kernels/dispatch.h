// How a kernel's public function reaches a device: each runs where its stream is. A backend defines the functions of
// the public headers in its own namespace (cpu, cuda) with the same parameters; a signature that differs does not link.
// Private to the kernels' x.cpp, which check the arguments, for both backends alike, and then run one.
#pragma once

#include "core/cuda.h"
#include "kernels/profile.h"

// `decltype` of a function declares a function of that type.
#define WT_BACKENDS(name)       \
  namespace cpu {               \
  decltype(kernels::name) name; \
  }                             \
  namespace cuda {              \
  decltype(kernels::name) name; \
  }

// The last statement of a public function: WT_RUN(kGemm, linear_forward, stream, x, w, ...) with its KernelClass.
#ifdef WAVETAPE_CUDA
#define WT_RUN(kernel_class, name, stream, ...)                               \
  const detail::ProfileScope scope(#name, KernelClass::kernel_class, stream); \
  if ((stream).device().is_cuda()) {                                          \
    ::wt::cuda::use_device((stream).device().index);                          \
    return cuda::name(stream, __VA_ARGS__);                                   \
  }                                                                           \
  return cpu::name(stream, __VA_ARGS__)
#else
// Without CUDA there is no way to come by a CUDA stream (core/device.h).
#define WT_RUN(kernel_class, name, stream, ...)                               \
  const detail::ProfileScope scope(#name, KernelClass::kernel_class, stream); \
  return cpu::name(stream, __VA_ARGS__)
#endif
