#include "layers/state.h"

#include <algorithm>
#include <utility>

namespace wt {

std::string name_of_layer(std::string published, int layer) {
  if (const auto at = published.find("{l}"); at != std::string::npos) published.replace(at, 3, std::to_string(layer));
  return published;
}

State::State(std::vector<StateSpec> specs, std::int64_t batch, const Stream& stream)
    : specs_(std::move(specs)), batch_(batch), stream_(stream) {
  for (const StateSpec& spec : specs_) {
    WT_CHECK(std::is_sorted(spec.layers.begin(), spec.layers.end()), "state ", spec.name, ": layers are out of order");
    WT_CHECK(spec.carried || !spec.grows(), "state ", spec.name, ": rows of a text are carried");
    WT_CHECK(spec.grows() || !spec.open, "state ", spec.name, ": only rows live in an open segment");
    tensors_.push_back(spec.grows() ? Tensor{} : make(spec, 0));
  }
}

Tensor State::make(const StateSpec& spec, std::int64_t rows) const {
  Shape shape{std::max<std::int64_t>(1, static_cast<std::int64_t>(spec.layers.size())), batch_};
  if (spec.grows()) shape.append(rows);
  for (const std::int64_t extent : spec.shape) shape.append(extent);
  return Tensor::zeros(stream_, shape, spec.dtype);
}

State::Range State::range(const StateSpec& spec, int lo, int hi) const {
  const auto place = [&](int layer) {
    return std::lower_bound(spec.layers.begin(), spec.layers.end(), layer) - spec.layers.begin();
  };
  return {place(lo), place(hi)};
}

std::vector<Tensor> State::slice(int lo, int hi) const {
  std::vector<Tensor> slices;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const auto [begin, end] = range(specs_[i], lo, hi);
    slices.push_back(begin < end && tensors_[i].defined() ? tensors_[i].slice(begin, end) : Tensor{});
  }
  return slices;
}

std::vector<Tensor> State::fork(int lo, int hi) const {
  std::vector<Tensor> slices = slice(lo, hi);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (slices[i].defined() && !specs_[i].grows()) slices[i] = slices[i].clone(stream_);
  }
  return slices;
}

State State::opened(std::int64_t rows) const {
  State open = *this;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].open) {
      open.tensors_[i] = make(specs_[i], rows);
    } else if (!specs_[i].grows()) {
      open.tensors_[i] = tensors_[i].clone(stream_);
    }
  }
  return open;
}

void State::share_rows(const State& other) {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].grows() && !specs_[i].open) tensors_[i] = other.tensors_[i];
  }
  reserved_ = other.reserved_;
}

State State::gradient() const {
  State gradient = *this;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const Tensor& value = tensors_[i];
    const DType dtype = specs_[i].grows() ? wide(specs_[i].dtype) : specs_[i].dtype;
    gradient.tensors_[i] =
        specs_[i].gradient && value.defined() ? Tensor::zeros(stream_, value.shape(), dtype) : Tensor{};
  }
  return gradient;
}

template <class Visit>
void State::each(int layer, const Visit& visit) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (!tensors_[i].defined() || specs_[i].layers.empty() != (layer == kOwn)) continue;
    const auto [begin, end] = range(specs_[i], layer, layer + 1);
    if (layer == kOwn) {
      visit(i, 0);
    } else if (begin < end) {
      visit(i, begin);
    }
  }
}

void State::zero(int layer, int sample) const {
  each(layer, [&](std::size_t i, std::int64_t place) {
    if (!specs_[i].grows()) tensors_[i].select(place).select(sample).fill_zero(stream_);
  });
}

void State::zero_uncarried(int lo, int hi) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].carried || !tensors_[i].defined()) continue;
    const auto [begin, end] = range(specs_[i], lo, hi);
    if (begin < end) tensors_[i].slice(begin, end).fill_zero(stream_);
  }
}

void State::zero_uncarried(int sample) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].carried || !tensors_[i].defined()) continue;
    for (std::int64_t place = 0; place < tensors_[i].dim(0); ++place) {
      tensors_[i].select(place).select(sample).fill_zero(stream_);
    }
  }
}

void State::zero_rows(int layer, int sample, std::int64_t begin, std::int64_t end) const {
  each(layer, [&](std::size_t i, std::int64_t place) {
    if (specs_[i].grows()) tensors_[i].select(place).select(sample).slice(begin, end).fill_zero(stream_);
  });
}

void State::copy(int layer, int sample, const State& from, int from_sample, std::int64_t rows) const {
  each(layer, [&](std::size_t i, std::int64_t place) {
    const Tensor to = tensors_[i].select(place).select(sample);
    const Tensor source = from.tensors_[i].select(place).select(from_sample);
    if (specs_[i].open || (specs_[i].grows() && rows == 0)) return;
    specs_[i].grows() ? to.slice(0, rows).copy_from(stream_, source.slice(0, rows)) : to.copy_from(stream_, source);
  });
}

void State::copy_sample(int sample, const State& from, int from_sample) const {
  WT_CHECK(from.reserved_ <= reserved_, "state: ", from.reserved_, " rows to copy to ", reserved_);
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (!from.tensors_[i].defined() || specs_[i].open || tensors_[i].raw() == from.tensors_[i].raw()) continue;
    for (std::int64_t place = 0; place < tensors_[i].dim(0); ++place) {
      const Tensor to = tensors_[i].select(place).select(sample);
      const Tensor source = from.tensors_[i].select(place).select(from_sample);
      (specs_[i].grows() ? to.slice(0, from.reserved_) : to).copy_from(stream_, source);
    }
  }
}

void State::reserve(std::int64_t rows) {
  if (rows <= reserved_) return;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (!specs_[i].grows() || specs_[i].open) continue;
    const Tensor more = make(specs_[i], rows);
    for (std::int64_t place = 0; tensors_[i].defined() && place < more.dim(0); ++place) {
      for (std::int64_t b = 0; b < batch_; ++b) {
        more.select(place).select(b).slice(0, reserved_).copy_from(stream_, tensors_[i].select(place).select(b));
      }
    }
    tensors_[i] = more;
  }
  reserved_ = rows;
}

std::uint64_t State::bytes() const {
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : tensors_) bytes += tensor.defined() ? tensor.bytes() : 0;
  return bytes;
}

NamedTensors State::published(std::optional<int> sample, std::int64_t rows) const {
  NamedTensors all;
  int layers = 0;
  for (const StateSpec& spec : specs_) layers = std::max(layers, spec.layers.empty() ? 0 : spec.layers.back() + 1);
  for (int layer = kOwn; layer < layers; ++layer) {
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      const StateSpec& spec = specs_[i];
      if (spec.open || (spec.grows() && rows == 0) || spec.layers.empty() != (layer == kOwn)) continue;
      const auto [begin, end] = range(spec, layer, layer + 1);
      if (layer != kOwn && begin == end) continue;
      const Tensor of_layer = tensors_[i].select(layer == kOwn ? 0 : begin);
      WT_CHECK(sample || !spec.grows(), "state ", spec.name, ": rows of several samples");
      const Tensor value = sample ? of_layer.select(*sample) : of_layer;
      all.emplace_back(name_of_layer(spec.name, layer), spec.grows() ? value.slice(0, rows) : value);
    }
  }
  return all;
}

}  // namespace wt
