// For tests on the GPU: moving tensors there and back, and comparing them with the CPU's.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace wt {

// The GPU's stream. Throws where there is no GPU: a GPU test that cannot run fails.
inline const Stream& gpu() {
  static const Stream stream(device_from_name("cuda"));
  return stream;
}

// float32 values from N(0, scale²) on the CPU.
inline Tensor normal(Shape shape, std::uint64_t seed, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> draw(0.0f, static_cast<float>(scale));
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = draw(generator);
  return Tensor::from<float>(shape, values);
}

// The nearest bfloat16 numbers, as float32.
inline Tensor rounded(const Tensor& x) {
  return x.to(Stream{}, DType::kBF16).to(Stream{}, DType::kF32);
}

// On the GPU, every byte 0xff: NaN in floats. What a kernel does not write is seen.
inline Tensor poisoned(Shape shape, DType dtype) {
  const Tensor out = Tensor::empty(gpu(), shape, dtype);
  EXPECT_EQ(cudaMemsetAsync(out.raw(), 0xff, out.bytes(), static_cast<cudaStream_t>(gpu().native())), cudaSuccess);
  return out;
}

// On the GPU in this dtype.
inline Tensor upload(const Tensor& x, DType dtype) {
  return x.to(Stream{}, dtype).to(gpu());
}
inline Tensor upload(const Tensor& x) {
  return x.to(gpu());
}

// ‖got - want‖ / ‖want‖ over all elements (‖got‖ where want is zero); infinite where an element of `got` is not finite.
inline double relative_error(const Tensor& got, const Tensor& want) {
  const auto a = got.to_cpu(gpu()).to(Stream{}, DType::kF64).to_vector<double>();
  const auto b = want.to_cpu(gpu()).to(Stream{}, DType::kF64).to_vector<double>();
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to_cpu(gpu()), y = b.to_cpu(gpu());
  return x.shape() == y.shape() && x.dtype() == y.dtype() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

}  // namespace wt
