#include "autograd/parameter.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

#include "core/random.h"
#include "kernels/cast.h"

namespace wt {
namespace {

// FNV-1a: names the random stream of a published tensor.
std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash & ((std::uint64_t{1} << 56) - 1);
}

std::string published_name(const ParameterSpec& spec, const PublishedPart& part, std::int64_t place) {
  std::string name = part.name;
  if (const auto at = name.find("{l}"); at != std::string::npos) {
    name.replace(at, 3, std::to_string(spec.layers[static_cast<std::size_t>(place)]));
  }
  return name;
}

// Numbers [begin, begin + out.numel()) of a published tensor. Where they start in the tensor's random stream follows
// from their place, so pieces can be drawn in any order.
void draw(const Init& init, std::uint64_t seed, const std::string& name, std::int64_t begin, const Tensor& out) {
  const auto start = static_cast<std::uint64_t>(begin) * (init.kind == Init::Kind::kNormal ? 2 : 1);
  RandomStream random(seed, random_stream(RandomPurpose::kWeights, hash_name(name)), start);
  dispatch_real(out.dtype(), [&]<class T>() {
    T* values = out.data<T>();
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      switch (init.kind) {
        case Init::Kind::kZeros:
          values[i] = T(0);
          break;
        case Init::Kind::kOnes:
          values[i] = T(1);
          break;
        case Init::Kind::kNormal:
          values[i] = static_cast<T>(init.scale * random.normal());
          break;
        case Init::Kind::kUniform:
          values[i] = static_cast<T>(init.scale * (2 * random.uniform() - 1));
          break;
        case Init::Kind::kOfUniform:
          values[i] = static_cast<T>(init.function(random.uniform()));
          break;
      }
    }
  });
}

// Whether the same name would be the same tensor: of a layer that both have, or of the model.
bool share_layers(const ParameterSpec& a, const ParameterSpec& b) {
  if (a.layers.empty() || b.layers.empty()) return a.layers.empty() == b.layers.empty();
  return std::find_first_of(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end()) != a.layers.end();
}

// A piece of a published tensor: rows [begin, end).
struct Piece {
  const PublishedTensor* tensor;
  std::int64_t begin, end;
};

std::vector<Piece> pieces_of(const std::vector<PublishedTensor>& tensors) {
  constexpr std::int64_t kNumbers = 1 << 20;
  std::vector<Piece> pieces;
  for (const PublishedTensor& tensor : tensors) {
    const std::int64_t rows = tensor.value.dim(0),
                       step = std::max<std::int64_t>(1, kNumbers / (tensor.value.numel() / rows));
    for (std::int64_t row = 0; row < rows; row += step) pieces.push_back({&tensor, row, std::min(rows, row + step)});
  }
  return pieces;
}

}  // namespace

std::vector<int> all_layers(std::int64_t n) {
  std::vector<int> layers(static_cast<std::size_t>(n));
  std::iota(layers.begin(), layers.end(), 0);
  return layers;
}

Parameter::Parameter(ParameterSpec spec, DType dtype, bool split, const Stream& stream)
    : spec_(std::move(spec)), stream_(stream) {
  Shape shape{spec_.count()};
  for (const std::int64_t extent : spec_.shape) shape.append(extent);
  value_ = Tensor::zeros(stream, shape, dtype);
  if (split) low_ = Tensor::zeros(stream, shape, DType::kI16);
}

const Tensor& Parameter::grad() const {
  if (!grad_.defined()) grad_ = Tensor::zeros(stream_, value_.shape(), wide(value_.dtype()));
  return grad_;
}

Tensor Parameter::slice(const Tensor& tensor, int lo, int hi) const {
  return spec_.layers.empty() ? tensor : tensor.slice(lo, hi);
}

Tensor Parameter::as_rows(const Tensor& tensor) {
  Shape shape{tensor.dim(0) * tensor.dim(1)};
  for (int i = 2; i < tensor.shape().rank(); ++i) shape.append(tensor.dim(i));
  return tensor.reshape(shape);
}

void Parameter::freeze(std::size_t published) {
  const auto count = spec_.parts.size() * static_cast<std::size_t>(spec_.count());
  WT_CHECK(published < count, "parameter ", spec_.key, " has ", count, " published tensors, none with number ",
           published);
  frozen_.resize(count, 0);
  frozen_[published] = 1;
  if (std::find(frozen_.begin(), frozen_.end(), 0) == frozen_.end()) trainable = false;
}

bool Parameter::is_trainable(std::size_t published) const {
  return trainable && (frozen_.empty() || frozen_[published] == 0);
}

std::vector<std::pair<std::int64_t, std::int64_t>> Parameter::trainable_rows() const {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  const std::size_t parts = spec_.parts.size();
  for (std::int64_t layer = 0; layer < value_.dim(0); ++layer) {
    for (std::size_t p = 0; p < parts; ++p) {
      if (!is_trainable(static_cast<std::size_t>(layer) * parts + p)) continue;
      const std::int64_t first = layer * value_.dim(1), begin = first + spec_.parts[p].begin;
      if (ranges.empty() || ranges.back().second != begin) ranges.emplace_back(begin, begin);
      ranges.back().second = first + spec_.parts[p].end;
    }
  }
  return ranges;
}

NamedTensors Parameter::published_views(const Tensor& tensor) const {
  WT_CHECK(tensor.shape() == value_.shape(), "parameter ", spec_.key, " is ", value_, ", the tensor ", tensor);
  NamedTensors views;
  for (std::int64_t layer = 0; layer < value_.dim(0); ++layer) {
    for (const PublishedPart& part : spec_.parts) {
      views.emplace_back(published_name(spec_, part, layer), tensor.select(layer).slice(part.begin, part.end));
    }
  }
  return views;
}

Parameter& ParameterStore::add(ParameterSpec spec) {
  WT_CHECK(spec.shape.rank() >= 1 && !spec.parts.empty(), "parameter ", spec.key, " has no shape or no published name");
  std::int64_t covered = 0;
  for (const PublishedPart& part : spec.parts) {
    WT_CHECK(part.begin == covered && part.end > part.begin, "parameter ", spec.key, ": part ", part.name,
             " begins at row ", part.begin, ", expected ", covered);
    covered = part.end;
    for (const auto& other : parameters_) {
      if (!share_layers(spec, other->spec())) continue;
      for (const PublishedPart& taken : other->spec().parts) {
        WT_CHECK(taken.name != part.name, "parameter ", spec.key, ": the name ", part.name, " is taken by ",
                 other->spec().key);
      }
    }
  }
  WT_CHECK(covered == spec.shape[0], "parameter ", spec.key, ": its parts cover ", covered, " of ", spec.shape[0],
           " rows");
  for (const auto& other : parameters_) {
    WT_CHECK(other->spec().key != spec.key, "two parameters have the key ", spec.key);
  }
  if (use_ == WeightUse::kNamesOnly) {
    parameters_.push_back(std::make_unique<Parameter>(std::move(spec)));
    return *parameters_.back();
  }
  const DType dtype = spec.shape.rank() == 1 ? wide(dtype_) : dtype_;
  const bool split = use_ == WeightUse::kTraining && dtype == DType::kBF16;
  parameters_.push_back(std::make_unique<Parameter>(std::move(spec), dtype, split, stream_));
  return *parameters_.back();
}

std::int64_t ParameterStore::count() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter->value().numel();
  return total;
}

std::int64_t ParameterStore::trainable_count() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) {
    const std::int64_t width = parameter->value().numel() / (parameter->value().dim(0) * parameter->value().dim(1));
    for (const auto& [begin, end] : parameter->trainable_rows()) total += (end - begin) * width;
  }
  return total;
}

std::vector<PublishedTensor> ParameterStore::published() const {
  std::vector<PublishedTensor> all;
  for (const auto& parameter : parameters_) {
    const NamedTensors values = parameter->published_views(parameter->value());
    const auto views = [&](const Tensor& tensor) {
      return tensor.defined() ? parameter->published_views(tensor) : NamedTensors(values.size());
    };
    const NamedTensors lows = views(parameter->low());
    const NamedTensors grads = views(parameter->has_grad() ? parameter->grad() : Tensor{});
    const auto& parts = parameter->spec().parts;
    for (std::size_t i = 0; i < values.size(); ++i) {
      all.push_back({values[i].first, parameter.get(), parts[i % parts.size()].init, values[i].second, lows[i].second,
                     grads[i].second, parameter->is_trainable(i)});
    }
  }
  return all;
}

std::vector<PublishedSpec> ParameterStore::published_specs() const {
  std::vector<PublishedSpec> all;
  for (const auto& parameter : parameters_) {
    const ParameterSpec& spec = parameter->spec();
    for (std::int64_t place = 0; place < spec.count(); ++place) {
      for (const PublishedPart& part : spec.parts) {
        Shape shape{part.end - part.begin};
        for (int i = 1; i < spec.shape.rank(); ++i) shape.append(spec.shape[i]);
        all.push_back({published_name(spec, part, place), shape, part.init, &spec});
      }
    }
  }
  return all;
}

Tensor draw_published(const PublishedSpec& spec, std::uint64_t seed) {
  Tensor out = Tensor::empty(Stream{}, spec.shape, DType::kF32);
  draw(spec.init, seed, spec.name, 0, out);
  return out;
}

Tensor PublishedTensor::read(const Stream& stream) const {
  if (!low.defined()) return value;
  const Tensor whole = Tensor::empty(stream, value.shape(), DType::kF32);
  kernels::join_float(stream, value, low, whole);
  return whole.to_cpu(stream);
}

void PublishedTensor::write(const Stream& stream, const Tensor& source) const {
  if (low.defined()) {
    kernels::split_float(stream, source.to(Stream{}, DType::kF32).to(stream), value, low);
  } else {
    value.copy_from(stream, source.to(Stream{}, value.dtype()));
  }
}

PublishedTensor PublishedTensor::slice(std::int64_t begin, std::int64_t end) const {
  const auto rows = [&](const Tensor& t) { return t.defined() ? t.slice(begin, end) : t; };
  return {name, parameter, init, rows(value), rows(low), rows(grad), trainable};
}

void ParameterStore::initialize(std::uint64_t seed) {
  const std::vector<PublishedTensor> tensors = published();
  const std::vector<Piece> pieces = pieces_of(tensors);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < pieces.size(); i = next++) {
      const PublishedTensor& tensor = *pieces[i].tensor;
      const PublishedTensor rows = tensor.slice(pieces[i].begin, pieces[i].end);
      const std::int64_t first = pieces[i].begin * (tensor.value.numel() / tensor.value.dim(0));
      const bool in_place = rows.value.device().is_cpu() && rows.value.dtype() != DType::kBF16;
      const Tensor drawn =
          in_place ? rows.value : Tensor::empty(Stream{}, rows.value.shape(), wide(rows.value.dtype()));
      draw(tensor.init, seed, tensor.name, first, drawn);
      if (!in_place) rows.write(stream_, drawn);
    }
  };
  const std::size_t helpers = count() < (1 << 20) ? 0 : std::max(1u, std::thread::hardware_concurrency()) - 1;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < helpers; ++i) threads.emplace_back(work);
  work();
}

void ParameterStore::zero_grad() {
  for (const auto& parameter : parameters_) {
    if (parameter->trainable) parameter->grad().fill_zero(stream_);
  }
}

}  // namespace wt
