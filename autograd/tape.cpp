#include "autograd/tape.h"

#include <algorithm>
#include <numeric>

#include "kernels/rows.h"

namespace wt {

Tensor BackwardPass::take(int id) {
  if (id < 0) return {};
  record_.hand_over(id, stream_);
  const WaveRecord::Place place = record_.place(id);
  if (!place.complete(stream_)) return {};
  const Tensor taken = place.tensor();
  place.mark(false);
  // The memory of what was split stays together: an op that takes a part works in place and passes it back.
  if (record_.gradient(id).whole < 0) place.gradient.tensor = {};
  return taken;
}

std::pair<Tensor, GradMode> BackwardPass::slot(int id, const Shape& shape, DType dtype) {
  if (id < 0) return {Tensor{}, GradMode::kSkip};
  const WaveRecord::Place place = record_.place(id);
  WaveRecord::Gradient& gradient = place.gradient;
  const GradMode mode = place.complete(stream_) ? GradMode::kAccumulate : GradMode::kOverwrite;
  if (!gradient.tensor.defined()) {
    gradient.tensor = Tensor::empty(stream_, gradient.reached.empty() ? shape : gradient.shape, dtype);
  }
  place.mark(true);
  return {place.tensor().reshape(shape), mode};
}

void BackwardPass::pass(int id, const Tensor& grad) {
  if (id < 0) return;
  WaveRecord::Gradient& own = record_.gradient(id);
  if (own.whole < 0 && !own.tensor.defined()) {
    own.tensor = own.reached.empty() ? grad : grad.reshape(own.shape);
    record_.place(id).mark(true);
    return;
  }
  const auto [target, mode] = slot(id, grad);
  if (mode == GradMode::kAccumulate) {
    kernels::add(stream_, grad, target);
  } else if (target.raw() != grad.raw()) {  // a part that was taken and changed in place lies there already
    target.copy_from(stream_, grad);
  }
}

Tensor WaveRecord::Place::tensor() const {
  return gradient.reached.empty() ? gradient.tensor : gradient.tensor.slice(begin, end);
}

void WaveRecord::Place::mark(bool reached) const {
  std::fill(gradient.reached.begin() + begin, gradient.reached.begin() + end, reached);
}

bool WaveRecord::Place::complete(const Stream& stream) const {
  std::vector<bool>& reached = gradient.reached;
  if (reached.empty()) return gradient.tensor.defined();
  if (std::find(reached.begin() + begin, reached.begin() + end, true) == reached.begin() + end) return false;
  for (std::int64_t i = begin; i < end; ++i) {
    if (!reached[static_cast<std::size_t>(i)]) gradient.tensor.slice(i, i + 1).fill_zero(stream);
  }
  mark(true);
  return true;
}

WaveRecord::Place WaveRecord::place(int id) {
  Gradient& own = gradient(id);
  if (own.whole < 0) return {own, 0, static_cast<std::int64_t>(own.reached.size())};
  return {gradient(own.whole), own.begin, own.end};
}

// The first producer of a joined tensor's parts to take its gradient comes behind everything that used the whole: from
// here on each part owns its slice. (A part of a tensor that it was split from has a number above the whole's.)
void WaveRecord::hand_over(int id, const Stream& stream) {
  const int whole = gradient(id).whole;
  if (whole < id) return;
  for (int i = 0; i < whole; ++i) {
    Gradient& part = gradient(i);
    if (part.whole != whole) continue;
    const Place at = place(i);
    if (at.complete(stream)) part.tensor = at.tensor();
    part.whole = -1;
  }
  gradient(whole).tensor = {};
  place(whole).mark(false);
}

void WaveRecord::link(const Var& part, const Var& whole, std::int64_t begin, std::int64_t end) {
  Gradient &from = gradient(part.id), &to = gradient(whole.id);
  WT_CHECK(from.whole < 0 && from.reached.empty() && !from.tensor.defined() && to.whole < 0,
           "a part of a tensor is neither split nor joined again");
  if (to.reached.empty()) {
    to.shape = whole.value.shape();
    to.reached.assign(static_cast<std::size_t>(to.shape[0]), to.tensor.defined());
  }
  from.whole = whole.id;
  from.begin = begin;
  from.end = end;
}

void WaveRecord::set_grad(const Var& var, const Tensor& grad) {
  WT_CHECK(var.wants_grad(), "gradient given for a tensor that wants none");
  const DType dtype = var.value.dtype();
  WT_CHECK(grad.shape() == var.value.shape() && (grad.dtype() == dtype || grad.dtype() == wide(dtype)), "gradient is ",
           grad, ", the tensor ", var.value);
  WT_CHECK(gradient(var.id).whole < 0, "gradient given for a part of a tensor");
  gradient(var.id).tensor = grad;
  place(var.id).mark(true);
}

Tensor WaveRecord::grad(const Var& var) const {
  if (var.id < 0) return {};
  const Gradient& own = grads_[static_cast<std::size_t>(var.id)];
  if (own.whole < 0) return own.tensor;
  const Gradient& whole = grads_[static_cast<std::size_t>(own.whole)];
  return whole.tensor.defined() ? whole.tensor.slice(own.begin, own.end) : Tensor{};
}

void WaveRecord::backward(const Stream& stream) {
  BackwardPass pass(*this, stream);
  while (!ops_.empty()) {
    const std::string name = std::string(ops_.back()->name()) + " backward";
    const OpScope scope(name.c_str());
    ops_.back()->backward(pass);
    ops_.pop_back();
  }
  // What is left is asked for by grad(): leaves, of which something may have reached some parts only.
  for (int id = 0; id < static_cast<int>(grads_.size()); ++id) place(id).complete(stream);
}

std::uint64_t WaveRecord::saved_bytes() const {
  // Slices of one tensor may be saved beside it.
  std::vector<std::pair<const char*, const char*>> ranges;
  for (const auto& op : ops_) {
    for (const Tensor& tensor : op->saved()) {
      const char* const begin = static_cast<const char*>(tensor.raw());
      if (tensor.defined()) ranges.emplace_back(begin, begin + tensor.bytes());
    }
  }
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t bytes = 0;
  const char* counted = nullptr;
  for (const auto& [begin, end] : ranges) {
    if (end <= counted) continue;
    bytes += static_cast<std::uint64_t>(end - std::max(begin, counted));
    counted = end;
  }
  return bytes;
}

std::vector<Var> split(Context& ctx, const Var& whole, const std::vector<std::int64_t>& sizes) {
  const std::int64_t sum = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  WT_CHECK(sum == whole.value.dim(0), "split: parts of ", sum, " entries in all of ", whole.value);
  if (sizes.size() == 1) return {whole};
  std::vector<Var> parts;
  std::int64_t end = 0;
  for (const std::int64_t size : sizes) {
    const std::int64_t begin = std::exchange(end, end + size);
    parts.emplace_back(whole.value.slice(begin, end));
    if (!whole.wants_grad()) continue;
    parts.back() = ctx.record->leaf(parts.back().value);
    ctx.record->link(parts.back(), whole, begin, end);
  }
  return parts;
}

Var join(Context& ctx, const Tensor& tensor, const std::vector<Var>& parts) {
  std::vector<std::int64_t> ends;
  bool wanted = false;
  for (const Var& part : parts) {
    const std::int64_t begin = ends.empty() ? 0 : ends.back();
    ends.push_back(begin + part.value.dim(0));
    const Tensor place = ends.back() <= tensor.dim(0) ? tensor.slice(begin, ends.back()) : Tensor{};
    WT_CHECK(part.value.raw() == place.raw() && part.value.shape() == place.shape(), "join: ", part.value,
             " does not lie at entry ", begin, " of ", tensor);
    wanted = wanted || part.wants_grad();
  }
  WT_CHECK(!ends.empty() && ends.back() == tensor.dim(0), "join: the parts do not fill ", tensor);
  if (parts.size() == 1) return parts[0];
  if (!ctx.recording()) return tensor;
  const Var whole = ctx.record->output(tensor, wanted);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].wants_grad()) ctx.record->link(parts[i], whole, i == 0 ? 0 : ends[i - 1], ends[i]);
  }
  return whole;
}

}  // namespace wt
