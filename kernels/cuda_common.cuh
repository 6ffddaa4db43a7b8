// What every CUDA kernel file needs: element types, launches with their check, vector access, reductions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <mutex>

#include "core/cuda.h"
#include "core/cuda_check.h"
#include "core/tensor.h"

namespace wt::kernels::cuda {

using bf16 = __nv_bfloat16;

inline cudaStream_t native(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.native());
}

// Calls `make` once for each device and keeps what it gave. Never destroyed.
template <class T>
class PerDevice {
 public:
  template <class Make>
  const T& of(const Stream& stream, const Make& make) {
    const std::lock_guard lock(mutex_);
    const int device = stream.device().index;
    auto found = made_.find(device);
    if (found == made_.end()) found = made_.emplace(device, make()).first;
    return found->second;
  }

 private:
  std::mutex mutex_;
  std::map<int, T> made_;
};

inline bool can_launch_early(const Stream& stream) {
  static auto& able = *new PerDevice<bool>;
  return able.of(stream, [&] {
    int major = 0;
    WT_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, stream.device().index));
    return major >= 9;
  });
}

// Blocks of a launch, of which CUDA takes 2^31 - 1 and a wider number would lose its upper bits.
inline unsigned grid_size(std::int64_t blocks) {
  WT_CHECK(blocks >= 0 && blocks < std::int64_t{1} << 31, "a launch of ", blocks,
           " blocks, at most 2147483647 are possible");
  return static_cast<unsigned>(blocks);
}

// Leaves a fault for the next wait (core/fault.h). `word` is cuda::fault_word()'s.
__device__ inline void report(std::int32_t* word, Fault fault) {
  *static_cast<volatile std::int32_t*>(word) = static_cast<std::int32_t>(fault);
}

// After a launch: reports a launch that was refused (bad grid, no code for this GPU) under the op's name.
inline void check_launch(const char* op) {
  const cudaError_t status = cudaGetLastError();
  WT_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

// Launches a kernel that may begin while the one before it still runs, so that its start is hidden. Before it touches
// anything but weights and its parameters it must call wait_for_previous(); a kernel that calls let_next_begin() allows
// the next one the same. Needs compute capability 9; on older GPUs an ordinary launch. So do clusters of more than one
// block, which run at the same time.
template <class... Parameters, class... Args>
void launch_early_in_clusters(const char* op, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                              std::size_t shared_bytes, unsigned cluster, const Stream& stream, Args... args) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = native(stream);
  config.attrs = attributes;
  config.numAttrs = !can_launch_early(stream) ? 0 : cluster > 1 ? 2 : 1;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, Parameters(args)...);
  if (status != cudaSuccess) static_cast<void>(cudaGetLastError());
  WT_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}
template <class... Parameters, class... Args>
void launch_early(const char* op, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                  const Stream& stream, Args... args) {
  launch_early_in_clusters(op, kernel, grid, block, shared_bytes, 1, stream, args...);
}

__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// Calls f.template operator()<T>() with T the element type of f32 or bf16. f64 runs on the CPU only.
template <class F>
decltype(auto) dispatch_float(const char* op, DType dtype, F&& f) {
  WT_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, op, ": dtype is ", name_of(dtype),
           ", expected f32 or bf16 on CUDA (f64 runs on the CPU only)");
  if (dtype == DType::kBF16) return f.template operator()<bf16>();
  return f.template operator()<float>();
}

template <class T>
T* data(const Tensor& t) {
  return t.data<T>();
}
template <>
inline bf16* data<bf16>(const Tensor& t) {
  return reinterpret_cast<bf16*>(t.data<BFloat16>());
}

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(bf16 x) {
  return __bfloat162float(x);
}
template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}

// N elements read and written as one access (16 bytes for 8 bf16 or 4 f32). Addresses are multiples of the size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};
template <class T>
inline constexpr int kVec = 16 / static_cast<int>(sizeof(T));

// Reads N neighbouring elements as floats.
template <int N, class T>
__device__ inline void load(const T* from, float (&to)[N]) {
  const Vec<T, N> v = *reinterpret_cast<const Vec<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = to_float(v.v[i]);
}
template <int N, class T>
__device__ inline void store(T* to, const float (&from)[N]) {
  Vec<T, N> v;
#pragma unroll
  for (int i = 0; i < N; ++i) v.v[i] = from_float<T>(from[i]);
  *reinterpret_cast<Vec<T, N>*>(to) = v;
}

// Over the 32 lanes, in a fixed order; every lane gets it.
template <class T, class Op>
__device__ inline T warp_reduce(T x, const Op& op) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}
// Over a block of THREADS threads (a multiple of 32); every thread gets it. `scratch` holds THREADS / 32 elements and
// may be used again after the next __syncthreads().
template <int THREADS, class T, class Op>
__device__ inline T block_reduce(T x, T* scratch, const Op& op) {
  x = warp_reduce(x, op);
  if constexpr (THREADS == 32) return x;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  T all = scratch[0];
#pragma unroll
  for (int i = 1; i < THREADS / 32; ++i) all = op(all, scratch[i]);
  return all;
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
__device__ inline float warp_sum(float x) {
  return warp_reduce(x, Sum{});
}
__device__ inline float warp_max(float x) {
  return warp_reduce(x, Max{});
}
template <int THREADS, class T>
__device__ inline T block_sum(T x, T* scratch) {
  return block_reduce<THREADS>(x, scratch, Sum{});
}
template <int THREADS>
__device__ inline float block_max(float x, float* scratch) {
  return block_reduce<THREADS>(x, scratch, Max{});
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace wt::kernels::cuda
