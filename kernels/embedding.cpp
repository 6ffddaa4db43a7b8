#include "kernels/embedding.h"

#include "kernels/dispatch.h"

namespace wt::kernels {

WT_BACKENDS(embedding_forward)
WT_BACKENDS(embedding_backward)

void embedding_forward(const Stream& stream, const Tensor& rows, const Tensor& position, const Tensor& table,
                       const Tensor& memory, const Tensor& positions, const Tensor& out) {
  const std::int64_t r = rows.numel(), d = table.dim(1);
  WT_CHECK(out.numel() == r * d && out.shape()[-1] == d, "embedding: out is ", out, ", expected ", r, " rows of ", d);
  WT_CHECK_SHAPE("embedding", table, table.dim(0), d);
  if (memory.defined()) WT_CHECK_SHAPE("embedding", memory, memory.dim(0), d);
  if (positions.defined()) WT_CHECK_SHAPE("embedding", positions, positions.dim(0), d);
  WT_CHECK(!positions.defined() || position.numel() == r, "embedding: positions are ", position, " for ", r, " rows");
  WT_RUN(kElementwise, embedding_forward, stream, rows, position, table, memory, positions, out);
}

void embedding_backward(const Stream& stream, const Tensor& dout, const Tensor& rows, const Tensor& position,
                        const Tensor& dtable, const Tensor& dmemory, const Tensor& dpositions) {
  const char* op = "embedding backward";
  const std::int64_t r = rows.numel(), d = dout.shape()[-1];
  WT_CHECK(dout.numel() == r * d, op, ": dout is ", dout, " for ", r, " rows");
  if (dtable.defined()) WT_CHECK_SHAPE(op, dtable, dtable.dim(0), d);
  if (dmemory.defined()) WT_CHECK_SHAPE(op, dmemory, dmemory.dim(0), d);
  if (dpositions.defined()) WT_CHECK_SHAPE(op, dpositions, dpositions.dim(0), d);
  WT_CHECK(!dpositions.defined() || position.numel() == r, op, ": positions are ", position, " for ", r, " rows");
  WT_RUN(kElementwise, embedding_backward, stream, dout, rows, position, dtable, dmemory, dpositions);
}

}  // namespace wt::kernels
