#include "kernels/memory.h"

#include "kernels/dispatch.h"

namespace wt::kernels {
namespace {

void check_state(const char* op, const Tensor& features, const Tensor& a, const Tensor& z, const Cells& cells) {
  WT_CHECK(features.shape().rank() == 4 && a.shape().rank() == 4, op, ": features are ", features, ", A is ", a);
  const MemoryExtents e = memory_extents(features, a);
  WT_CHECK_SHAPE(op, a, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE(op, z, e.g, e.b, e.p);
  WT_CHECK_SHAPE(op, cells.flags, e.g, e.b);
  WT_CHECK_SHAPE(op, cells.rows, e.g, e.b);
}

void check_saved(const char* op, const MemoryExtents& e, const MemoryWrite& saved) {
  WT_CHECK_SHAPE(op, saved.error, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE(op, saved.den, e.g, e.b, e.t);
  WT_CHECK_SHAPE(op, saved.gamma, e.g, e.b, e.t);
}

}  // namespace

WT_BACKENDS(memory_read_forward)
WT_BACKENDS(memory_read_backward)
WT_BACKENDS(memory_write_forward)
WT_BACKENDS(memory_write_backward)

void memory_read_forward(const Stream& stream, const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z,
                         const Cells& cells, const Tensor& y, const Tensor& den, const Tensor& min_den) {
  check_state("memory_read", phi, a, z, cells);
  const MemoryExtents e = memory_extents(phi, a);
  WT_CHECK_SHAPE("memory_read", x, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_read", y, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_read", den, e.g, e.b, e.t);
  WT_RUN(kMemory, memory_read_forward, stream, x, phi, a, z, cells, y, den, min_den);
}

void memory_read_backward(const Stream& stream, const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                          const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da, const Tensor& dz,
                          GradMode state_mode) {
  const char* op = "memory_read backward";
  check_state(op, phi, a, z, cells);
  const MemoryExtents e = memory_extents(phi, a);
  WT_CHECK_SHAPE(op, dy, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE(op, den, e.g, e.b, e.t);
  WT_CHECK_SHAPE(op, dphi, e.g, e.b, e.t, e.p);
  if (state_mode != GradMode::kSkip) {
    WT_CHECK_SHAPE(op, da, e.g, e.b, e.p, e.d);
    WT_CHECK_SHAPE(op, dz, e.g, e.b, e.p);
  }
  WT_RUN(kMemory, memory_read_backward, stream, dy, phi, a, z, den, cells, dphi, da, dz, state_mode);
}

void memory_write_forward(const Stream& stream, const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a,
                          const Tensor& z, const Cells& cells, bool correction, const Tensor& a_out,
                          const Tensor& z_out, const MemoryWrite& saved, const Tensor& min_den) {
  check_state("memory_write", k, a, z, cells);
  const MemoryExtents e = memory_extents(k, a);
  WT_CHECK_SHAPE("memory_write", v, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE("memory_write", b, e.g, e.b, e.t);
  WT_CHECK_SHAPE("memory_write", a_out, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE("memory_write", z_out, e.g, e.b, e.p);
  check_saved("memory_write", e, saved);
  WT_RUN(kMemory, memory_write_forward, stream, k, v, b, a, z, cells, correction, a_out, z_out, saved, min_den);
}

void memory_write_backward(const Stream& stream, const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                           const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                           const Tensor& dk, const Tensor& dv, const Tensor& db) {
  const char* op = "memory_write backward";
  check_state(op, k, a, z, cells);
  const MemoryExtents e = memory_extents(k, a);
  WT_CHECK_SHAPE(op, b, e.g, e.b, e.t);
  check_saved(op, e, saved);
  WT_CHECK_SHAPE(op, da, e.g, e.b, e.p, e.d);
  WT_CHECK_SHAPE(op, dz, e.g, e.b, e.p);
  WT_CHECK_SHAPE(op, dk, e.g, e.b, e.t, e.p);
  WT_CHECK_SHAPE(op, dv, e.g, e.b, e.t, e.d);
  WT_CHECK_SHAPE(op, db, e.g, e.b, e.t);
  WT_RUN(kMemory, memory_write_backward, stream, k, b, a, z, saved, cells, da, dz, dk, dv, db);
}

}  // namespace wt::kernels
