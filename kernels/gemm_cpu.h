// Batched matrix products on the CPU, the engine below linear layers and memory. Deterministic: the tiles an output is
// cut into, and the pieces a long inner sum is cut into, depend on the shapes alone.
#pragma once

#include <cstdint>

namespace wt::kernels {

// One operand: `batch_stride` elements between matrices, `row_stride` between rows; stored row-major as (rows, cols),
// used as it stands or transposed.
template <class T>
struct Operand {
  T* data;
  std::int64_t row_stride;
  std::int64_t batch_stride;
  bool transposed = false;
};

// C[i] = alpha · op(A[i]) · op(B[i]) + beta · C[i] for i in [0, batch), where op(A) is (m, k), op(B) (k, n) and C (m,
// n). beta is 0 or 1. With beta 0, C's contents before do not matter (NaN included). C overlaps neither A nor B.
template <class T>
void gemm(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Operand<const T> a,
          Operand<const T> b, T beta, Operand<T> c);

}  // namespace wt::kernels
