#include "kernels/cast.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

// Normal numbers after those where rounding could go wrong: ties to even both ways, the largest number that does not
// become infinite and the one after it, infinities, zeros, numbers below the smallest normal one.
Tensor numbers(Shape shape) {
  std::vector<float> values = normal(shape, 1).to_vector<float>();
  const std::vector<float> special{1.00390625f,
                                   1.01171875f,
                                   -1.00390625f,
                                   3.38953139e38f,
                                   3.3961775e38f,
                                   3.4e38f,
                                   -3.4e38f,
                                   std::numeric_limits<float>::infinity(),
                                   -std::numeric_limits<float>::infinity(),
                                   0.0f,
                                   -0.0f,
                                   1e-39f,
                                   -3e-40f,
                                   1e-45f};
  for (std::size_t i = 0; i < values.size() && i < special.size(); ++i) values[i] = special[i];
  return Tensor::from<float>(shape, values);
}

const Shape kShapes[] = {{1}, {14}, {13, 37}, {3, 129, 96}, {4, 1152, 2048}};

TEST(GpuCast, SameBytesAsOnTheCpu) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.str());
    const Tensor x = numbers(shape), half = x.to(kCpu, DType::kBF16);
    const Tensor to_half = poisoned(shape, DType::kBF16), to_full = poisoned(shape, DType::kF32);
    cast(gpu(), upload(x), to_half);
    EXPECT_TRUE(same_bytes(to_half, half));
    cast(gpu(), to_half, to_full);
    EXPECT_TRUE(same_bytes(to_full, half.to(kCpu, DType::kF32)));
    const Tensor copy = poisoned(shape, DType::kF32), half_copy = poisoned(shape, DType::kBF16);
    cast(gpu(), upload(x), copy);
    EXPECT_TRUE(same_bytes(copy, x));
    cast(gpu(), to_half, half_copy);
    EXPECT_TRUE(same_bytes(half_copy, half));
  }
}

TEST(GpuCast, SlicesStartAnywhere) {
  const Tensor x = numbers({9, 3}), y = poisoned({9, 3}, DType::kBF16);
  cast(gpu(), upload(x).slice(1, 9), y.slice(1, 9));
  EXPECT_TRUE(same_bytes(y.slice(1, 9), x.slice(1, 9).to(kCpu, DType::kBF16)));
}

TEST(GpuCast, NotANumberStaysOne) {
  const Tensor x = Tensor::from<float>({2}, {std::nanf(""), -std::nanf("")});
  const Tensor half = poisoned({2}, DType::kBF16), full = poisoned({2}, DType::kF32);
  cast(gpu(), upload(x), half);
  cast(gpu(), half, full);
  for (const float value : full.to_cpu(gpu()).to_vector<float>()) EXPECT_TRUE(std::isnan(value));
}

TEST(GpuCast, HalvesAsOnTheCpu) {
  for (const Shape& shape : kShapes) {
    const Tensor x = numbers(shape), high = poisoned(shape, DType::kBF16), low = poisoned(shape, DType::kI16);
    const Tensor cpu_high = Tensor::empty(kCpu, shape, DType::kBF16), cpu_low = Tensor::empty(kCpu, shape, DType::kI16);
    split_float(gpu(), upload(x), high, low);
    split_float(kCpu, x, cpu_high, cpu_low);
    EXPECT_TRUE(same_bytes(high, cpu_high)) << shape.str();
    EXPECT_TRUE(same_bytes(low, cpu_low)) << shape.str();
    const Tensor back = poisoned(shape, DType::kF32);
    join_float(gpu(), high, low, back);
    EXPECT_TRUE(same_bytes(back, x)) << shape.str();
  }
}

TEST(GpuCast, Checks) {
  const Tensor x = poisoned({2, 3}, DType::kF32);
  EXPECT_ERROR(cast(gpu(), x, poisoned({3, 2}, DType::kBF16)), Error, "cast: x is f32[2,3], y is bf16[3,2]");
  EXPECT_ERROR(cast(gpu(), x, poisoned({2, 3}, DType::kF64)), Error,
               "cast: dtype is f64, expected f32 or bf16 on CUDA");
  const Tensor none = poisoned({0, 3}, DType::kF32);
  cast(gpu(), none, poisoned({0, 3}, DType::kBF16));
}

// The CPU's, between all floating dtypes.
TEST(GpuCast, OnTheCpu) {
  for (const Shape& shape : kShapes) {
    const Tensor x = numbers(shape);
    for (const DType from : {DType::kF32, DType::kF64, DType::kBF16}) {
      for (const DType to : {DType::kF32, DType::kF64, DType::kBF16}) {
        const Tensor in = x.to(kCpu, from), out = Tensor::empty(kCpu, shape, to);
        cast(kCpu, in, out);
        EXPECT_TRUE(same_bytes(out, in.to(kCpu, to))) << name_of(from) << " to " << name_of(to) << ", " << shape.str();
      }
    }
  }
}

}  // namespace
}  // namespace wt::kernels
