#include "core/tensor.h"

#include <cstring>

#include "core/cuda.h"
#include "core/memory.h"

namespace wt {
namespace {

struct Block {
  Stream stream;
  void* pointer;
  std::size_t bytes;
  Block(const Stream& s, std::size_t size) : stream(s), pointer(allocate(s, size)), bytes(size) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { deallocate(stream, pointer, bytes); }
};

double load(const Tensor& t, std::int64_t i) {
  switch (t.dtype()) {
    case DType::kF64:
      return static_cast<const double*>(t.raw())[i];
    case DType::kF32:
      return static_cast<const float*>(t.raw())[i];
    case DType::kBF16:
      return to_float(static_cast<const BFloat16*>(t.raw())[i]);
    default:
      WT_CHECK(false, "cannot convert ", t, " between floating dtypes");
      return 0;
  }
}

}  // namespace

Tensor Tensor::empty(const Stream& stream, Shape shape, DType dtype) {
  Tensor out;
  out.shape_ = shape;
  out.numel_ = shape.numel();
  out.dtype_ = dtype;
  out.device_ = stream.device();
  auto block = std::make_shared<Block>(stream, out.bytes());
  out.data_ = block->pointer;
  out.owner_ = std::move(block);
  return out;
}

Tensor Tensor::zeros(const Stream& stream, Shape shape, DType dtype) {
  Tensor out = empty(stream, shape, dtype);
  out.fill_zero(stream);
  return out;
}

Tensor Tensor::view_of(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner) {
  Tensor out;
  out.owner_ = std::move(owner);
  out.data_ = const_cast<void*>(data);
  out.shape_ = shape;
  out.numel_ = shape.numel();
  out.dtype_ = dtype;
  return out;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  WT_CHECK(defined() && shape_.rank() > 0 && begin >= 0 && begin <= end && end <= dim(0), "slice [", begin, ",", end,
           ") of tensor ", shape_);
  Tensor out = *this;
  out.shape_.set(0, end - begin);
  out.numel_ = out.shape_.numel();
  out.data_ = static_cast<char*>(data_) + static_cast<std::size_t>(begin * shape_.numel_from(1)) * size_of(dtype_);
  return out;
}

Tensor Tensor::select(std::int64_t index) const {
  Tensor out = slice(index, index + 1);
  Shape rest;
  for (int i = 1; i < shape_.rank(); ++i) rest.append(shape_[i]);
  out.shape_ = rest;
  return out;
}

Tensor Tensor::reshape(Shape shape) const {
  WT_CHECK(shape.numel() == numel_, "tensor ", shape_, " cannot be seen as ", shape);
  Tensor out = *this;
  out.shape_ = shape;
  return out;
}

bool Tensor::overlaps(const Tensor& other) const {
  const char* a = static_cast<const char*>(data_);
  const char* b = static_cast<const char*>(other.data_);
  return a < b + other.bytes() && b < a + bytes();
}

void Tensor::copy_from(const Stream& stream, const Tensor& source) const {
  WT_CHECK(shape_ == source.shape_ && dtype_ == source.dtype_, "copy of ", source, " into ", *this);
  if (device_.is_cpu() && source.device_.is_cpu()) {
    if (bytes() > 0) std::memcpy(data_, source.data_, bytes());
    return;
  }
  WT_CHECK(stream.device().is_cuda(), "copy from ", source.device_, " to ", device_, " on a stream of the CPU");
  cuda::copy(data_, device_.is_cpu(), source.data_, source.device_.is_cpu(), bytes(), stream.native());
}

void Tensor::fill_zero(const Stream& stream) const {
  if (device_.is_cpu()) {
    if (bytes() > 0) std::memset(data_, 0, bytes());
    return;
  }
  WT_CHECK(stream.device() == device_, "fill on ", device_, " with a stream of ", stream.device());
  cuda::fill_zero(data_, bytes(), stream.native());
}

Tensor Tensor::clone(const Stream& stream) const {
  Tensor out = empty(stream, shape_, dtype_);
  out.copy_from(stream, *this);
  return out;
}

Tensor Tensor::to(const Stream& stream) const {
  return stream.device() == device_ ? *this : clone(stream);
}

Tensor Tensor::to_cpu(const Stream& stream) const {
  if (device_.is_cpu()) return *this;
  Tensor out = empty(Stream{}, shape_, dtype_);
  out.copy_from(stream, *this);
  return out;
}

Tensor Tensor::to(const Stream& stream, DType dtype) const {
  if (dtype == dtype_) return to(stream);
  WT_CHECK(device_.is_cpu(), "conversion of ", *this, " to ", name_of(dtype), " on ", device_);
  if (stream.device().is_cuda()) return to(Stream{}, dtype).to(stream);
  Tensor out = empty(stream, shape_, dtype);
  for (std::int64_t i = 0; i < numel_; ++i) {
    const double value = load(*this, i);
    if (dtype == DType::kF64) {
      out.data<double>()[i] = value;
    } else if (dtype == DType::kF32) {
      out.data<float>()[i] = static_cast<float>(value);
    } else {
      out.data<BFloat16>()[i] = to_bfloat16(static_cast<float>(value));
    }
  }
  return out;
}

std::string Tensor::str() const {
  return defined() ? cat(name_of(dtype_), shape_) : "undefined";
}

}  // namespace wt
