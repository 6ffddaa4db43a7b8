#include "autograd/tape.h"

#include <set>

#include "kernels/rows.h"

namespace wt {

Tensor BackwardPass::take(int id) {
  if (id < 0) return {};
  return std::exchange(record_.grads_[static_cast<std::size_t>(id)], Tensor{});
}

std::pair<Tensor, GradMode> BackwardPass::slot(int id, const Tensor& like) {
  if (id < 0) return {Tensor{}, GradMode::kSkip};
  Tensor& grad = record_.grads_[static_cast<std::size_t>(id)];
  if (grad.defined()) return {grad.reshape(like.shape()), GradMode::kAccumulate};
  grad = Tensor::empty(stream_, like.shape(), like.dtype());
  return {grad, GradMode::kOverwrite};
}

void BackwardPass::pass(int id, const Tensor& grad) {
  if (id < 0) return;
  Tensor& target = record_.grads_[static_cast<std::size_t>(id)];
  if (!target.defined()) {
    target = grad;
  } else {
    kernels::add(stream_, grad, target.reshape(grad.shape()));
  }
}

void WaveRecord::set_grad(const Var& var, const Tensor& grad) {
  WT_CHECK(var.wants_grad(), "gradient given for a tensor that wants none");
  WT_CHECK(grad.shape() == var.value.shape() && grad.dtype() == var.value.dtype(), "gradient is ", grad,
           ", the tensor ", var.value);
  grads_[static_cast<std::size_t>(var.id)] = grad;
}

Tensor WaveRecord::grad(const Var& var) const {
  return var.id < 0 ? Tensor{} : grads_[static_cast<std::size_t>(var.id)];
}

void WaveRecord::backward(const Stream& stream) {
  BackwardPass pass(*this, stream);
  while (!ops_.empty()) {
    const std::string name = std::string(ops_.back()->name()) + " backward";
    const OpScope scope(name.c_str());
    ops_.back()->backward(pass);
    ops_.pop_back();
  }
}

std::uint64_t WaveRecord::saved_bytes() const {
  std::set<const void*> seen;
  std::uint64_t bytes = 0;
  for (const auto& op : ops_) {
    for (const Tensor& tensor : op->saved()) {
      if (tensor.defined() && seen.insert(tensor.raw()).second) bytes += tensor.bytes();
    }
  }
  return bytes;
}

}  // namespace wt
