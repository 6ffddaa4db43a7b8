#include "autograd/ops/memory.h"

#include "kernels/dpfp.h"

namespace wt::ops {
namespace {

struct DpfpSaved {
  Tensor x;
  std::int64_t nu;
  int x_id, phi_id;
  std::vector<Tensor> tensors() const { return {x}; }
};

void dpfp_backward(BackwardPass& pass, const DpfpSaved& s) {
  const Tensor dphi = pass.take(s.phi_id);
  if (!dphi.defined()) return;
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  if (mode == GradMode::kSkip) return;
  WT_CHECK(mode == GradMode::kOverwrite, "dpfp: its input must not feed another op");
  kernels::dpfp_backward(pass.stream(), dphi, s.x, s.nu, dx);
}

struct ReadSaved {
  Tensor phi, a, z, den;
  kernels::Cells cells;
  int x_id, phi_id, a_id, z_id, y_id;
  std::vector<Tensor> tensors() const { return {phi, a, z, den}; }
};

void read_backward(BackwardPass& pass, const ReadSaved& s) {
  const Tensor dy = pass.take(s.y_id);
  if (!dy.defined()) return;
  auto [dphi, phi_mode] = pass.slot(s.phi_id, s.phi);
  WT_CHECK(phi_mode != GradMode::kAccumulate, "memory_read: phi must not feed another op");
  if (phi_mode == GradMode::kSkip) dphi = Tensor::empty(pass.stream(), s.phi.shape(), s.phi.dtype());
  const auto [da, a_mode] = pass.slot(s.a_id, s.a);
  const auto [dz, z_mode] = pass.slot(s.z_id, s.z);
  WT_CHECK(a_mode == z_mode, "memory_read: A and z are used together");
  kernels::memory_read_backward(pass.stream(), dy, s.phi, s.a, s.z, s.den, s.cells, dphi, da, dz, a_mode);
  pass.pass(s.x_id, dy);
}

struct WriteSaved {
  Tensor keys, logits, a, z;
  kernels::MemoryWrite write;
  kernels::Cells cells;
  int keys_id, values_id, logits_id, a_id, z_id, a_out_id, z_out_id;
  std::vector<Tensor> tensors() const { return {keys, logits, a, z, write.error, write.den, write.gamma}; }
};

void write_backward(BackwardPass& pass, const WriteSaved& s) {
  Tensor da = pass.take(s.a_out_id), dz = pass.take(s.z_out_id);
  if (!da.defined() && !dz.defined()) return;
  if (!da.defined()) da = Tensor::zeros(pass.stream(), s.a.shape(), s.a.dtype());
  if (!dz.defined()) dz = Tensor::zeros(pass.stream(), s.z.shape(), s.z.dtype());
  const auto fresh = [&](int id, const Tensor& like) {
    const auto [grad, mode] = pass.slot(id, like);
    WT_CHECK(mode != GradMode::kAccumulate, "memory_write: its inputs must not feed another op");
    return mode == GradMode::kSkip ? Tensor::empty(pass.stream(), like.shape(), like.dtype()) : grad;
  };
  const Tensor dk = fresh(s.keys_id, s.keys);
  const Tensor dv = fresh(s.values_id, s.write.error);
  const Tensor db = fresh(s.logits_id, s.logits);
  const Shape rows{s.keys.dim(0), s.keys.dim(1), s.keys.dim(2)};
  kernels::memory_write_backward(pass.stream(), s.keys, s.logits.reshape(rows), s.a, s.z, s.write, s.cells, da, dz, dk,
                                 dv, db.reshape(rows));
  pass.pass(s.a_id, da);
  pass.pass(s.z_id, dz);
}

}  // namespace

Var dpfp(Context& ctx, const Var& x, std::int64_t nu) {
  const OpScope scope("dpfp");
  Shape shape = x.value.shape();
  shape.set(shape.rank() - 1, 2 * nu * shape[-1]);
  const Tensor phi = Tensor::empty(ctx.stream, shape, x.value.dtype());
  kernels::dpfp_forward(ctx.stream, x.value, nu, phi);
  if (!ctx.recording()) return phi;
  const Var out = ctx.record->output(phi, x.wants_grad());
  if (out.wants_grad()) ctx.record->record("dpfp", DpfpSaved{x.value, nu, x.id, out.id}, dpfp_backward);
  return out;
}

Var memory_read(Context& ctx, const Var& x, const Var& phi, const MemoryState& state, const kernels::Cells& cells,
                const Tensor& min_den) {
  const OpScope scope("memory_read");
  const Shape& s = x.value.shape();
  const Tensor y = Tensor::empty(ctx.stream, s, x.value.dtype());
  const Tensor den = Tensor::empty(ctx.stream, {s[0], s[1], s[2]}, wide(x.value.dtype()));
  kernels::memory_read_forward(ctx.stream, x.value, phi.value, state.a.value, state.z.value, cells, y, den, min_den);
  if (!ctx.recording()) return y;
  const Var out = ctx.record->output(y, true);
  ctx.record->record(
      "memory_read",
      ReadSaved{phi.value, state.a.value, state.z.value, den, cells, x.id, phi.id, state.a.id, state.z.id, out.id},
      read_backward);
  return out;
}

MemoryState memory_write(Context& ctx, const Var& keys, const Var& values, const Var& logits, const MemoryState& state,
                         const kernels::Cells& cells, bool correction, const Tensor& a_out, const Tensor& z_out,
                         const Tensor& min_den) {
  const OpScope scope("memory_write");
  const Shape& s = keys.value.shape();
  const Shape rows{s[0], s[1], s[2]};
  const DType dtype = keys.value.dtype();
  const kernels::MemoryWrite write{Tensor::empty(ctx.stream, values.value.shape(), dtype),
                                   Tensor::empty(ctx.stream, rows, wide(dtype)),
                                   Tensor::empty(ctx.stream, rows, wide(dtype))};
  kernels::memory_write_forward(ctx.stream, keys.value, values.value, logits.value.reshape(rows), state.a.value,
                                state.z.value, cells, correction, a_out, z_out, write, min_den);
  if (!ctx.recording()) return {a_out, z_out};
  const MemoryState next{ctx.record->output(a_out, true), ctx.record->output(z_out, true)};
  ctx.record->record("memory_write",
                     WriteSaved{keys.value, logits.value, state.a.value, state.z.value, write, cells, keys.id,
                                values.id, logits.id, state.a.id, state.z.id, next.a.id, next.z.id},
                     write_backward);
  return next;
}

}  // namespace wt::ops
