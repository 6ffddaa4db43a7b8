#include "autograd/parameter.h"

#include <algorithm>
#include <atomic>
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

std::string with_layer(const std::string& pattern, std::int64_t layer) {
  std::string name = pattern;
  if (const auto at = name.find("{l}"); at != std::string::npos) name.replace(at, 3, std::to_string(layer));
  return name;
}

void draw(const Init& init, std::uint64_t seed, const std::string& name, const Tensor& out) {
  RandomStream random(seed, random_stream(RandomPurpose::kWeights, hash_name(name)));
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
      }
    }
  });
}

}  // namespace

Parameter::Parameter(ParameterSpec spec, DType stored, DType computing, const Stream& stream)
    : spec_(std::move(spec)), stream_(stream) {
  Shape shape{spec_.layers == 0 ? 1 : spec_.layers};
  for (const std::int64_t extent : spec_.shape) shape.append(extent);
  value_ = Tensor::zeros(stream, shape, stored);
  computing_ = stored == computing ? value_ : Tensor::zeros(stream, shape, computing);
}

void Parameter::refresh() {
  if (computing_.dtype() != value_.dtype()) kernels::cast(stream_, value_, computing_);
}

const Tensor& Parameter::grad() const {
  if (!grad_.defined()) grad_ = Tensor::zeros(stream_, value_.shape(), wide(computing_.dtype()));
  return grad_;
}

Tensor Parameter::slice(const Tensor& tensor, int lo, int hi) const {
  return spec_.layers == 0 ? tensor : tensor.slice(lo, hi);
}

NamedTensors Parameter::published_views(const Tensor& tensor) const {
  WT_CHECK(tensor.shape() == value_.shape(), "parameter ", spec_.key, " is ", value_, ", the tensor ", tensor);
  NamedTensors views;
  for (std::int64_t layer = 0; layer < value_.dim(0); ++layer) {
    for (const PublishedPart& part : spec_.parts) {
      views.emplace_back(with_layer(part.name, layer), tensor.select(layer).slice(part.begin, part.end));
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
  const DType computing = spec.shape.rank() == 1 ? wide(dtype_) : dtype_;
  const DType stored = use_ == WeightUse::kTraining ? wide(dtype_) : computing;
  parameters_.push_back(std::make_unique<Parameter>(std::move(spec), stored, computing, stream_));
  return *parameters_.back();
}

std::int64_t ParameterStore::count() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter->value().numel();
  return total;
}

std::vector<PublishedTensor> ParameterStore::published() const {
  std::vector<PublishedTensor> all;
  for (const auto& parameter : parameters_) {
    const NamedTensors values = parameter->published_views(parameter->value());
    const NamedTensors grads =
        parameter->has_grad() ? parameter->published_views(parameter->grad()) : NamedTensors(values.size());
    const auto& parts = parameter->spec().parts;
    for (std::size_t i = 0; i < values.size(); ++i) {
      all.push_back(
          {values[i].first, parameter.get(), parts[i % parts.size()].init, values[i].second, grads[i].second});
    }
  }
  return all;
}

void ParameterStore::initialize(std::uint64_t seed) {
  // Every tensor has its own stream of numbers, so threads may share the work in any order.
  const std::vector<PublishedTensor> tensors = published();
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < tensors.size(); i = next++) {
      const PublishedTensor& tensor = tensors[i];
      const bool in_place = tensor.value.device().is_cpu() && tensor.value.dtype() != DType::kBF16;
      const Tensor drawn =
          in_place ? tensor.value : Tensor::empty(Stream{}, tensor.value.shape(), wide(tensor.value.dtype()));
      draw(tensor.init, seed, tensor.name, drawn);
      if (!in_place) tensor.value.copy_from(stream_, drawn.to(Stream{}, tensor.value.dtype()));
    }
  };
  {
    const std::size_t helpers = count() < (1 << 20) ? 0 : std::max(1u, std::thread::hardware_concurrency()) - 1;
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < helpers; ++i) threads.emplace_back(work);
    work();
  }
  refresh();
}

void ParameterStore::refresh() {
  for (const auto& parameter : parameters_) parameter->refresh();
}

void ParameterStore::zero_grad() {
  for (const auto& parameter : parameters_) {
    if (parameter->trainable) parameter->grad().fill_zero(stream_);
  }
}

}  // namespace wt
