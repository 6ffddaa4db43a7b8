// Dropout is the same function on every device: the same elements are kept, and a kept one is one product, so the bytes
// are equal.
#include "kernels/dropout.h"

#include <gtest/gtest.h>

#include "tests/support/gpu.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Size {
  std::int64_t g, b, t, d;
};
// Cells of a number of elements that 16-byte accesses fit in both dtypes, in f32 only, in neither; the last is a wave
// of Llama-1B with fewer layers.
const Size kSizes[] = {{1, 1, 1, 1},    {3, 2, 13, 8},    {3, 2, 13, 4},   {2, 3, 13, 37},
                       {1, 3, 129, 96}, {2, 2, 129, 100}, {12, 1, 5, 768}, {4, 1, 1152, 2048}};

Tensor numbers(const Size& s) {
  std::vector<std::int64_t> cells(static_cast<std::size_t>(s.g * s.b));
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<std::int64_t>(i * i * 1'000'003 + (i << 33));
  return Tensor::from<std::int64_t>({s.g, s.b}, cells);
}

class GpuDropout : public ::testing::TestWithParam<DType> {};

TEST_P(GpuDropout, SameBytesAsOnTheCpu) {
  const DType dtype = GetParam();
  const DropoutKey key{0x123456789abcdefull, 1'000'000'007, 5};
  for (const Size& s : kSizes) {
    const Tensor x = rounded(normal({s.g, s.b, s.t, s.d}, 1)), cell = numbers(s);
    for (const double p : {0.1, 0.5, 0.0, 0.999, 1 - 1e-9}) {
      SCOPED_TRACE(cat(s.g, " x ", s.b, " x ", s.t, " x ", s.d, ", p ", p));
      const Tensor want = Tensor::empty(kCpu, x.shape(), DType::kF32);
      dropout(kCpu, x, cell, p, key, want);
      const Tensor in = upload(x, dtype), y = poisoned(x.shape(), dtype);
      dropout(gpu(), in, upload(cell), p, key, y);
      EXPECT_TRUE(same_bytes(y, want.to(kCpu, dtype)));
      dropout(gpu(), in, upload(cell), p, key, in);
      EXPECT_TRUE(same_bytes(in, y)) << "in place";
    }
  }
}

TEST_P(GpuDropout, EveryPartOfTheKeyCounts) {
  const DType dtype = GetParam();
  const Tensor x = upload(Tensor::from<float>({1, 1, 8, 64}, std::vector<float>(512, 1.0f)), dtype);
  const Tensor y = poisoned(x.shape(), dtype), other = poisoned(x.shape(), dtype);
  const Tensor cell = upload(Tensor::from<std::int64_t>({1, 1}, {7}));
  dropout(gpu(), x, cell, 0.5, {1, 2, 3}, y);
  for (const DropoutKey& key : {DropoutKey{2, 2, 3}, DropoutKey{1, 3, 3}, DropoutKey{1, 2, 4}}) {
    dropout(gpu(), x, cell, 0.5, key, other);
    EXPECT_FALSE(same_bytes(other, y));
  }
  dropout(gpu(), x, upload(Tensor::from<std::int64_t>({1, 1}, {8})), 0.5, {1, 2, 3}, other);
  EXPECT_FALSE(same_bytes(other, y));
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuDropout, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
