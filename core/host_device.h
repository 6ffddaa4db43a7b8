// Functions that run on the CPU and in CUDA kernels alike.
#pragma once

#ifdef __CUDACC__
#define WT_HOST_DEVICE __host__ __device__
#else
#define WT_HOST_DEVICE
#endif
