// Tensor: a contiguous, row-major array of one dtype on one device. Copies of a Tensor share its memory; slices along
// the first extent are views. There are no strides: a kernel that needs a column block takes the whole row.
#pragma once

#include <memory>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace wt {

class Tensor {
 public:
  Tensor() = default;  // undefined: no memory, no shape

  // Contents are undefined until written.
  static Tensor empty(const Stream& stream, Shape shape, DType dtype);
  static Tensor zeros(const Stream& stream, Shape shape, DType dtype);
  // A CPU tensor with these values; with a stream, one on its device.
  template <class T>
  static Tensor from(Shape shape, const std::vector<T>& values);
  template <class T>
  static Tensor from(const Stream& stream, Shape shape, const std::vector<T>& values) {
    return from<T>(shape, values).to(stream);
  }
  // A view of memory that `owner` keeps alive (a mapped file, say). Must not be written.
  static Tensor view_of(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner);

  bool defined() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int index) const { return shape_[index]; }
  std::int64_t numel() const { return numel_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel_) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  // The elements; throws where T is not the dtype. The constness of a Tensor is that of a pointer, not of its target.
  template <class T>
  T* data() const {
    WT_CHECK(kDTypeOf<T> == dtype_, "tensor ", shape_, " is ", name_of(dtype_), ", expected ", name_of(kDTypeOf<T>));
    return static_cast<T*>(data_);
  }
  void* raw() const { return data_; }

  // Rows [begin, end) of the first extent, sharing memory.
  Tensor slice(std::int64_t begin, std::int64_t end) const;
  // Entry `index` of the first extent, that extent removed, sharing memory.
  Tensor select(std::int64_t index) const;
  // The same elements in the same order under another shape, sharing memory.
  Tensor reshape(Shape shape) const;

  // True where both share at least one byte.
  bool overlaps(const Tensor& other) const;

  // Contents of `source` (equal shape and dtype, any device), which must not overlap. Between devices the stream is the
  // CUDA side's; memory of the CPU may be changed once this returns.
  void copy_from(const Stream& stream, const Tensor& source) const;
  void fill_zero(const Stream& stream) const;
  Tensor clone(const Stream& stream) const;

  // On the stream's device: itself where it is there already, else a copy.
  Tensor to(const Stream& stream) const;
  // The same, converted between floating dtypes (f32 -> bf16 rounds to nearest even). Converts CPU tensors only;
  // kernels/cast.h converts on any device.
  Tensor to(const Stream& stream, DType dtype) const;
  // On the CPU, once the stream (of this tensor's device) has done all work so far. A CPU tensor is returned as it is.
  Tensor to_cpu(const Stream& stream) const;
  template <class T>
  std::vector<T> to_vector() const;

  std::string str() const;  // "f32[2,3]"

 private:
  std::shared_ptr<const void> owner_;
  void* data_ = nullptr;
  Shape shape_;
  std::int64_t numel_ = 0;
  DType dtype_ = DType::kF32;
  Device device_;
};

template <class T>
Tensor Tensor::from(Shape shape, const std::vector<T>& values) {
  Tensor out = empty(Stream{}, shape, kDTypeOf<T>);
  WT_CHECK(out.numel() == static_cast<std::int64_t>(values.size()), "tensor ", shape, " from ", values.size(),
           " values");
  std::copy(values.begin(), values.end(), out.data<T>());
  return out;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  WT_CHECK(device_.is_cpu(), "to_vector needs a CPU tensor, this one is on ", device_);
  const T* values = data<T>();
  return std::vector<T>(values, values + numel_);
}

}  // namespace wt

// Throws unless the tensor has exactly these extents: WT_CHECK_SHAPE("rms_norm", x, G, B, T, D).
#define WT_CHECK_SHAPE(op, tensor, ...)                                                                              \
  WT_CHECK((tensor).shape() == ::wt::Shape({__VA_ARGS__}), op, ": " #tensor " is ", (tensor).shape(), ", expected ", \
           ::wt::Shape({__VA_ARGS__}), " (" #__VA_ARGS__ ")")
