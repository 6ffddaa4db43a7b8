// Parameters, stacked by layer: one weight of all L layers is one tensor (L, …), so a wave's layers are a slice.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/safetensors.h"
#include "core/tensor.h"
#include "kernels/linear.h"

namespace wt {

// How fresh values are drawn.
struct Init {
  enum class Kind : std::uint8_t { kZeros, kOnes, kNormal, kUniform, kOfUniform };
  Kind kind = Kind::kZeros;
  double scale = 0;                      // standard deviation (normal), or bound: uniform in [-scale, scale)
  double (*function)(double) = nullptr;  // of a number that is uniform in [0, 1)
  static Init zeros() { return {Kind::kZeros, 0}; }
  static Init ones() { return {Kind::kOnes, 0}; }
  static Init normal(double deviation) { return {Kind::kNormal, deviation}; }
  static Init uniform(double bound) { return {Kind::kUniform, bound}; }
  static Init of_uniform(double (*function)(double)) { return {Kind::kOfUniform, 0, function}; }
};

// Rows [begin, end) of a layer's tensor under the name that checkpoints know them by. "{l}" stands for the layer. Fused
// weights (query, key and value in one matrix product) have several parts.
struct PublishedPart {
  std::string name;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  Init init;
};

// Whose a parameter is: what is frozen, adapted, merged and imported goes by it.
enum class Role : std::uint8_t { kBackbone, kMemory, kAdapter };

// Everything there is to say about a parameter is said once, here, by the module that owns it.
struct ParameterSpec {
  std::string key;          // "layers.self_attn.qkv": for messages and the optimizer
  std::vector<int> layers;  // the layers it is stacked over, ascending; none: the model has one of it
  Shape shape;              // of one layer's tensor
  std::vector<PublishedPart> parts;
  bool decay = true;  // weight decay applies
  Role role = Role::kBackbone;
  kernels::WeightLayout layout = kernels::WeightLayout::kOutIn;  // of a matrix

  // Tensors that lie in the stack.
  std::int64_t count() const { return layers.empty() ? 1 : static_cast<std::int64_t>(layers.size()); }
  // A matrix of one layer each: what adapters may stand beside.
  bool is_layer_matrix() const { return !layers.empty() && shape.rank() == 2; }
};

// Layers 0 ... n - 1.
std::vector<int> all_layers(std::int64_t n);

// Which numbers a store of bf16 parameters keeps: f32 values that an optimizer updates, in two halves of which the
// upper one computes (core/split_float.h), or that half alone. kNamesOnly keeps none: the
// values are undefined, and only specs can be asked for.
enum class WeightUse : std::uint8_t { kTraining, kInference, kNamesOnly };

class Parameter {
 public:
  // `split`: a bf16 value that is the upper half of f32 numbers.
  Parameter(ParameterSpec spec, DType dtype, bool split, const Stream& stream);
  // Without values.
  explicit Parameter(ParameterSpec spec) : spec_(std::move(spec)) {}

  const ParameterSpec& spec() const { return spec_; }
  // What ops compute with.
  const Tensor& value() const { return value_; }
  // The lower halves (i16), where there are any.
  const Tensor& low() const { return low_; }
  // Zeroed on first use; gradients are always added to it.
  const Tensor& grad() const;
  bool has_grad() const { return grad_.defined(); }
  void drop_grad() { grad_ = {}; }
  // Places [lo, hi) of the stack as (G, …), to compute with; a parameter of the whole model as (1, …), whatever lo and
  // hi.
  Tensor value_slice(int lo, int hi) const { return slice(value_, lo, hi); }
  Tensor grad_slice(int lo, int hi) const { return slice(grad(), lo, hi); }

  // A tensor of the value's shape (the value, a gradient, an optimizer's moment) as its published parts, layer by
  // layer.
  NamedTensors published_views(const Tensor& tensor) const;

  // The value, or a tensor of its shape, as one list of rows: (L · rows, …).
  static Tensor as_rows(const Tensor& tensor);
  // Freezes one published tensor, counted as published_views() lists them. Its part of the gradient is computed with
  // the others' and left unused; a parameter of which every part is frozen is not trainable.
  void freeze(std::size_t published);
  bool is_trainable(std::size_t published) const;
  // The rows (of as_rows()) that train, as the fewest ranges [begin, end).
  std::vector<std::pair<std::int64_t, std::int64_t>> trainable_rows() const;

  // Takes gradients at all.
  bool trainable = true;

 private:
  Tensor slice(const Tensor& tensor, int lo, int hi) const;

  ParameterSpec spec_;
  Stream stream_;
  Tensor value_;                      // (L, …) or (1, …)
  Tensor low_;                        // same shape
  std::vector<std::uint8_t> frozen_;  // by published tensor; empty: none is
  mutable Tensor grad_;               // same shape, in the value's wide dtype
};

// A published tensor: a view into a parameter's value and, where there is one, its gradient.
struct PublishedTensor {
  std::string name;
  const Parameter* parameter = nullptr;
  Init init;
  Tensor value;
  Tensor low;   // undefined where the value is whole
  Tensor grad;  // undefined without gradients
  bool trainable = true;

  // The numbers that are saved: the value, or the f32 number that it is half of (then on the CPU).
  Tensor read(const Stream& stream) const;
  // From a CPU tensor of the same shape and any floating dtype.
  void write(const Stream& stream, const Tensor& source) const;
  // Rows [begin, end).
  PublishedTensor slice(std::int64_t begin, std::int64_t end) const;
};

// The same without numbers.
struct PublishedSpec {
  std::string name;
  Shape shape;
  Init init;
  const ParameterSpec* parameter = nullptr;  // of the store
};

// Fresh values in f32 from the random stream that the name has under this seed; the same that initialize() draws.
Tensor draw_published(const PublishedSpec& spec, std::uint64_t seed);

class ParameterStore {
 public:
  // In bf16, matrices and tables compute in bf16; vectors (norm weights, biases) stay f32.
  explicit ParameterStore(DType dtype, const Stream& stream = {}, WeightUse use = WeightUse::kTraining)
      : dtype_(dtype), stream_(stream), use_(use) {}
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // The reference stays valid as long as the store. Throws where a key or a published name is taken, or where the parts
  // do not cover the rows exactly.
  Parameter& add(ParameterSpec spec);

  DType dtype() const { return dtype_; }
  const Stream& stream() const { return stream_; }
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }
  // Number of scalars, and of those that train.
  std::int64_t count() const;
  std::int64_t trainable_count() const;
  // Every published tensor, layer by layer in the order of registration.
  std::vector<PublishedTensor> published() const;
  // Their names, shapes and fresh values' kinds, in the same order.
  std::vector<PublishedSpec> published_specs() const;

  // Draws every published tensor from its Init with its own random stream (named by the tensor), so that a value
  // depends on the seed, its name and its shape only: not on the other parameters or the order of registration.
  void initialize(std::uint64_t seed);
  // Every trainable parameter has a gradient afterwards, and it is zero.
  void zero_grad();

 private:
  DType dtype_;
  Stream stream_;
  WeightUse use_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

}  // namespace wt
