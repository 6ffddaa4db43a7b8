// Inputs and comparisons of the kernel tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/random.h"
#include "core/tensor.h"

namespace wt {

// Normal numbers, rounded to float32, so that f32 and f64 runs see the same inputs.
inline Tensor normal_tensor(const Shape& shape, std::uint64_t seed, DType dtype, double scale = 1) {
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 1));
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = static_cast<float>(scale * random.normal());
  return Tensor::from<float>(shape, values).to(Stream{}, dtype);
}

// Their magnitudes: features, masses.
inline Tensor positive_tensor(const Shape& shape, std::uint64_t seed, DType dtype) {
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 2));
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = static_cast<float>(0.1 + std::abs(random.normal()));
  return Tensor::from<float>(shape, values).to(Stream{}, dtype);
}

// An output before a kernel has written it: all bits set, which is NaN.
inline Tensor poisoned(const Shape& shape, DType dtype) {
  const Tensor out = Tensor::empty(Stream{}, shape, dtype);
  std::memset(out.raw(), 0xff, out.bytes());
  return out;
}

template <class T = std::int32_t>
Tensor integers(const Shape& shape, const std::vector<T>& values) {
  return Tensor::from<T>(shape, values);
}

inline std::vector<double> values_of(const Tensor& tensor) {
  if (tensor.dtype() == DType::kU8) {
    const auto bytes = tensor.to_vector<std::uint8_t>();
    return {bytes.begin(), bytes.end()};
  }
  return tensor.to(Stream{}, DType::kF64).to_vector<double>();
}

inline bool bit_equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

// max |a - b| / max(1, |b|); infinite where either is not a number.
inline double largest_error(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace wt
