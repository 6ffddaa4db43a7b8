// Batched matrix products on CUDA (cuBLASLt), the engine below linear layers and memory. Deterministic: cuBLASLt's own
// choice of algorithm for a shape is the same in every run, and no algorithm that adds by atomics is allowed.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace wt::kernels::cuda {

// One matrix of each product: `batch_stride` elements between matrices, `row_stride` between rows; stored row-major,
// used as it stands or transposed.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t batch_stride = 0;
  bool transposed = false;
};

// C[i] = alpha · op(A[i]) · op(B[i]) + beta · C_in[i] for i in [0, batch), where op(A) is (m, k), op(B) (k, n), C (m,
// n). A and B are of one dtype, f32 or bf16; C_in and C of one dtype, f32 or that of A. C_in may be C itself; with beta
// 0 it is not read. Sums are f32. bf16 products of matrices whose rows are no multiple of 16 bytes work, slower.
void gemm(const Stream& stream, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
          const Matrix& a, const Matrix& b, float beta, const Matrix& c_in, const Matrix& c);

}  // namespace wt::kernels::cuda
