// Rows of the model's input: token embeddings, memory embeddings and, for GPT-2, positions.
// Legend: R rows, V vocabulary, D width, M memory tokens, N table of positions.
#pragma once

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt::kernels {

// What a row holds: a token id >= 0, kPaddingRow (zeros), or memory_row(j) for the j-th memory embedding.
inline constexpr std::int32_t kPaddingRow = -1;
constexpr std::int32_t memory_row(std::int32_t j) {
  return -2 - j;
}

// out_RD: row r is table_VD[rows_R[r]] or memory_MD[j] or zeros, plus positions_ND[position_R[r]] where a position
// table is given (position -1 adds nothing). `memory` may be undefined where no row asks for it. Ids and
// positions out of range are an Error, on CUDA at the stream's next wait (core/cuda.h).
void embedding_forward(const Stream& stream, const Tensor& rows, const Tensor& position, const Tensor& table,
                       const Tensor& memory, const Tensor& positions, const Tensor& out);

// Adds dout_RD to the gradients of the tables (each may be undefined: not wanted). Rows that share an entry are added
// in row order, so the result does not depend on threads.
void embedding_backward(const Stream& stream, const Tensor& dout, const Tensor& rows, const Tensor& position,
                        const Tensor& dtable, const Tensor& dmemory, const Tensor& dpositions);

}  // namespace wt::kernels
