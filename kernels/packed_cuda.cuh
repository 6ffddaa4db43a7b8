// Neighbouring elements as one access that stays packed in registers until it is needed: a row held between two passes
// takes half the registers in bf16. For element-wise and row-wise kernels.
#pragma once

#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {

template <class T, int N>
struct alignas(sizeof(T) * N) Packed {
  T v[N];
  __device__ void unpack(float (&to)[N]) const {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = to_float(v[i]);
  }
  __device__ static Packed pack(const float (&from)[N]) {
    Packed out;
#pragma unroll
    for (int i = 0; i < N; ++i) out.v[i] = from_float<T>(from[i]);
    return out;
  }
};
// In words of two: as single elements each would take a register of its own.
template <int N>
requires(N % 2 == 0) struct alignas(2 * N) Packed<bf16, N> {
  std::uint32_t v[N / 2];
  __device__ void unpack(float (&to)[N]) const {
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      to[2 * i] = __uint_as_float(v[i] << 16);
      to[2 * i + 1] = __uint_as_float(v[i] & 0xffff0000u);
    }
  }
  __device__ static Packed pack(const float (&from)[N]) {
    Packed out;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
      out.v[i] = *reinterpret_cast<const std::uint32_t*>(&pair);
    }
    return out;
  }
};

template <int N, class T>
__device__ inline Packed<T, N> load_packed(const T* from) {
  return *reinterpret_cast<const Packed<T, N>*>(from);
}
// `to` is in global memory. The instruction itself: an assignment is compiled to a store per word at times.
template <int N, class T>
__device__ inline void store_packed(T* to, const Packed<T, N>& value) {
  static_assert(N <= 2 || N == 4 || (N == 8 && sizeof(T) == 2));
  const auto& v = value.v;
  if constexpr (N <= 2) {
    *reinterpret_cast<Packed<T, N>*>(to) = value;
  } else if constexpr (sizeof(T) == 4) {
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(v[0]), "f"(v[1]),
                 "f"(v[2]), "f"(v[3])
                 : "memory");
  } else if constexpr (N == 4) {
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(v[0]), "r"(v[1])
                 : "memory");
  } else {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(v[0]), "r"(v[1]),
                 "r"(v[2]), "r"(v[3])
                 : "memory");
  }
}

// N floats that no thread writes while the kernel runs: such a read need not wait for writes before it.
template <int N>
__device__ inline void load_constant(const float* from, float (&to)[N]) {
  if constexpr (N % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 v = __ldg(reinterpret_cast<const float4*>(from + i));
      to[i] = v.x;
      to[i + 1] = v.y;
      to[i + 2] = v.z;
      to[i + 3] = v.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = __ldg(from + i);
  }
}

// True where all addresses are multiples of 16 (null is one).
template <class... P>
bool aligned(const P*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

// Calls f.template operator()<N>() with N elements per access: 16 bytes of T where that fits, else a single one.
template <class T, class F>
void dispatch_access(bool fits, F&& f) {
  if (fits) {
    f.template operator()<kVec<T>>();
  } else {
    f.template operator()<1>();
  }
}

// 1 / (1 + e^-u). The fast exponential is off by a few units in the last place; e^-u = ∞ gives 0.
__device__ inline float sigmoid(float u) {
  return __fdividef(1.0f, 1.0f + __expf(-u));
}

// Threads of a block where threads work alone, and the blocks for so many of them.
inline constexpr int kLoneThreads = 256;
inline unsigned lone_blocks(std::int64_t threads) {
  return grid_size(ceil_div(threads, kLoneThreads));
}

}  // namespace wt::kernels::cuda
