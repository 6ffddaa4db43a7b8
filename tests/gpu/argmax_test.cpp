#include "kernels/argmax.h"

#include <limits>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"

namespace wt::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::int32_t> on_cpu(const Tensor& x) {
  const Tensor index = Tensor::empty(Stream{}, {x.dim(0)}, DType::kI32);
  argmax_rows(Stream{}, x, index);
  return index.to_vector<std::int32_t>();
}

std::vector<std::int32_t> on_gpu(const Tensor& x, DType dtype) {
  const Tensor index = poisoned({x.dim(0)}, DType::kI32);
  argmax_rows(gpu(), upload(x, dtype), index);
  return index.to_cpu(gpu()).to_vector<std::int32_t>();
}

TEST(GpuArgmax, AgreesWithTheCpu) {
  for (const std::int64_t rows : {1, 2, 13, 300}) {
    for (const std::int64_t width : {1, 2, 7, 256, 1000, 8191, 50257, 128256}) {
      if (rows * width > 2'000'000) continue;
      SCOPED_TRACE(cat(rows, " rows of ", width));
      const Tensor x = normal({rows, width}, static_cast<std::uint64_t>(rows * 1000 + width));
      EXPECT_EQ(on_gpu(x, DType::kF32), on_cpu(x));
      // bfloat16 has ties by the hundred.
      EXPECT_EQ(on_gpu(x, DType::kBF16), on_cpu(rounded(x)));
    }
  }
}

TEST(GpuArgmax, TiesAndSpecialNumbers) {
  const std::vector<std::pair<std::vector<float>, std::int32_t>> cases{
      {{1, 3, 3, 2, 3}, 1},
      {{0, -0.0f, 0, -1, -1}, 0},
      {{-0.0f, 0, 0, -1, -1}, 0},
      {{kNaN, 1, kNaN, 2, 2}, 3},
      {{kNaN, kNaN, -kInfinity, kNaN, -kInfinity}, 2},
      {{-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity}, 0},
      {{kNaN, kNaN, kNaN, kNaN, kNaN}, 0},
      {{1, kInfinity, kNaN, kInfinity, 5}, 1},
  };
  for (const auto& [values, want] : cases) {
    const Tensor x = Tensor::from<float>({1, 5}, values);
    EXPECT_EQ(on_cpu(x).at(0), want);
    EXPECT_EQ(on_cpu(x.to(Stream{}, DType::kF64)).at(0), want);
    EXPECT_EQ(on_gpu(x, DType::kF32).at(0), want);
    EXPECT_EQ(on_gpu(x, DType::kBF16).at(0), want);
  }
}

// Long rows are cut into stretches: ties and NaN across them.
TEST(GpuArgmax, AcrossStretches) {
  const std::int64_t width = 128256;
  for (const std::int64_t at : {0, 4095, 64000, 128255}) {
    std::vector<float> values(static_cast<std::size_t>(width), kNaN);
    const Tensor nothing = Tensor::from<float>({1, width}, values);
    EXPECT_EQ(on_gpu(nothing, DType::kF32).at(0), 0);
    for (std::int64_t i = at; i < width; i += 1000) values[static_cast<std::size_t>(i)] = -kInfinity;
    EXPECT_EQ(on_gpu(Tensor::from<float>({1, width}, values), DType::kF32).at(0), at);
    for (std::int64_t i = at; i < width; i += 500) values[static_cast<std::size_t>(i)] = 4;
    EXPECT_EQ(on_gpu(Tensor::from<float>({1, width}, values), DType::kBF16).at(0), at);
  }
}

TEST(GpuArgmax, Errors) {
  argmax_rows(gpu(), Tensor::empty(gpu(), {0, 5}, DType::kF32), Tensor::empty(gpu(), {0}, DType::kI32));
  EXPECT_ERROR(argmax_rows(gpu(), Tensor::empty(gpu(), {2, 0}, DType::kF32), Tensor::empty(gpu(), {2}, DType::kI32)),
               Error, "rows are empty");
  EXPECT_ERROR(argmax_rows(gpu(), Tensor::empty(gpu(), {2, 5}, DType::kF64), Tensor::empty(gpu(), {2}, DType::kI32)),
               Error, "f64 runs on the CPU only");
}

}  // namespace
}  // namespace wt::kernels
