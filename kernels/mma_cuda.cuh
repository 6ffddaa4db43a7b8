// Products of bf16 tiles on tensor cores by the instructions that every GPU since Ampere has: copies into swizzled
// shared memory, fragments out of it, m16n8k16 products with sums in float32.
//
// Fragments (PTX ISA, "Matrix Fragments for mma.m16n8k16"): of the 16 x 8 sums, lane l has columns 2 (l % 4) and the
// next of row l / 4 in [0] and [1], and of row l / 4 + 8 in [2] and [3].
#pragma once

#include "kernels/cuda_common.cuh"

namespace wt::kernels::cuda {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from global to shared memory, behind the thread's back; zeros where not `there`.
__device__ inline void copy_async(std::uint32_t to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
               "r"(there ? 16 : 0)
               : "memory");
}
// The same with 4 bytes.
__device__ inline void copy_word_async(std::uint32_t to, const void* from, bool there) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
               "r"(there ? 4 : 0)
               : "memory");
}
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Rows of D bf16 in shared memory, at an address that is a multiple of their size. The 16-byte pieces of a row are
// permuted by its number, so that eight rows' pieces of one number lie in different banks.
template <int D>
struct SharedRows {
  static_assert(D == 64 || D == 128);
  static constexpr int kPieces = D / 8;
  static constexpr int kRowBytes = 2 * D;
  __device__ static std::uint32_t offset(int row, int piece) {
    return static_cast<std::uint32_t>(row * kRowBytes + ((piece ^ (row & 7)) << 4));
  }
};

// Four 8 x 8 blocks of bf16; lanes 8 i to 8 i + 7 give the addresses of block i's rows.
__device__ inline void load_blocks(std::uint32_t address, std::uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_blocks_transposed(std::uint32_t address, std::uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

// c_16x8 += a_16x16 b_16x8.
__device__ inline void multiply_add(const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1, float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two neighbours of a row as bf16, the first in the lower half.
__device__ inline std::uint32_t pack_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// 2^x by the special function unit: off by 2^-22; 0 for -infinity.
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// sums[m][n] += a b^T over D columns: M blocks of 16 rows of a, one behind the other from `a_row` on, and 2 N blocks of
// 8 rows of b from its first on. a and b are SharedRows<D>.
template <int D, int M, int N>
__device__ inline void multiply_rows(std::uint32_t a, int a_row, std::uint32_t b, float (&sums)[M][2 * N][4]) {
  using Rows = SharedRows<D>;
  const int lane = threadIdx.x % 32;
  // Step d of 16 columns changes the bits of a piece's number that `offset` has not mixed with others: one xor.
  std::uint32_t a_at[M], b_at = b + Rows::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int m = 0; m < M; ++m) a_at[m] = a + Rows::offset(a_row + 16 * m + lane % 16, lane / 16);
#pragma unroll
  for (int d = 0; d < D / 16; ++d) {
    std::uint32_t left[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) load_blocks(a_at[m] ^ (d << 5), left[m]);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      std::uint32_t right[4];
      load_blocks((b_at + n * 16 * Rows::kRowBytes) ^ (d << 5), right);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiply_add(left[m], right[0], right[1], sums[m][2 * n]);
        multiply_add(left[m], right[2], right[3], sums[m][2 * n + 1]);
      }
    }
  }
}

// sums[m][d] += p b for weights p (M blocks of 16 rows, 16 K columns, as pairs of bf16 in fragments' order) and the
// first 16 K rows of b, SharedRows<D>.
template <int D, int M, int K>
__device__ inline void multiply_weights(const std::uint32_t (&p)[M][K][4], std::uint32_t b,
                                        float (&sums)[M][D / 8][4]) {
  using Rows = SharedRows<D>;
  const int lane = threadIdx.x % 32;
  const std::uint32_t b_at = b + Rows::offset(lane % 16, lane / 16);
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int d = 0; d < D / 16; ++d) {
      std::uint32_t right[4];
      load_blocks_transposed((b_at + k * 16 * Rows::kRowBytes) ^ (d << 5), right);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiply_add(p[m][k], right[0], right[1], sums[m][2 * d]);
        multiply_add(p[m][k], right[2], right[3], sums[m][2 * d + 1]);
      }
    }
  }
}

// Sums of 16 x 8 blocks, as weights of a product that they come first in.
template <int M, int N>
__device__ inline void as_weights(const float (&sums)[M][2 * N][4], std::uint32_t (&p)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      p[m][n][0] = pack_pair(sums[m][2 * n][0], sums[m][2 * n][1]);
      p[m][n][1] = pack_pair(sums[m][2 * n][2], sums[m][2 * n][3]);
      p[m][n][2] = pack_pair(sums[m][2 * n + 1][0], sums[m][2 * n + 1][1]);
      p[m][n][3] = pack_pair(sums[m][2 * n + 1][2], sums[m][2 * n + 1][3]);
    }
  }
}

}  // namespace wt::kernels::cuda
