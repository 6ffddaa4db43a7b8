#include "kernels/activation.h"

#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? kGpuBF16 : kGpuF32;
}
// Wide enough for both tails.
Tensor input(Shape shape, std::uint64_t seed, DType dtype) {
  const Tensor x = normal(shape, seed, 3);
  return dtype == DType::kBF16 ? rounded(x) : x;
}

struct Size {
  std::int64_t g, t, f;
};
// The last is a wave of Llama-1B with fewer layers.
const Size kSizes[] = {{1, 1, 1}, {1, 1, 8}, {1, 13, 24}, {3, 129, 37}, {3, 13, 100}, {3, 13, 3072}, {2, 1152, 8192}};

class GpuActivation : public ::testing::TestWithParam<DType> {};

TEST_P(GpuActivation, SwiGlu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.t, " x ", s.f));
    const Tensor gate_up = input({s.g, 1, s.t, 2 * s.f}, 1, dtype), dout = input({s.g, 1, s.t, s.f}, 2, dtype);
    const Tensor want = Tensor::empty(kCpu, dout.shape(), DType::kF32);
    const Tensor want_grad = Tensor::empty(kCpu, gate_up.shape(), DType::kF32);
    swiglu_forward(kCpu, gate_up, want);
    swiglu_backward(kCpu, dout, gate_up, want_grad);

    const Tensor x = upload(gate_up, dtype), dy = upload(dout, dtype);
    const Tensor y = poisoned(dout.shape(), dtype), again = poisoned(dout.shape(), dtype);
    swiglu_forward(gpu(), x, y);
    swiglu_forward(gpu(), x, again);
    EXPECT_LT(relative_error(y, want), tolerance(dtype));
    EXPECT_TRUE(same_bytes(y, again));
    const Tensor dx = poisoned(gate_up.shape(), dtype);
    swiglu_backward(gpu(), dy, x, dx);
    EXPECT_LT(relative_error(dx, want_grad), tolerance(dtype));
    swiglu_backward(gpu(), dy, x, x);
    EXPECT_TRUE(same_bytes(x, dx)) << "in place";
  }
}

TEST_P(GpuActivation, Gelu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.t, " x ", s.f));
    const Tensor in = input({s.g, s.t, s.f}, 1, dtype), dout = input({s.g, s.t, s.f}, 2, dtype);
    const Tensor want = Tensor::empty(kCpu, in.shape(), DType::kF32), want_grad = want.clone(kCpu);
    gelu_forward(kCpu, in, want);
    gelu_backward(kCpu, dout, in, want_grad);

    const Tensor x = upload(in, dtype), dy = upload(dout, dtype);
    const Tensor y = poisoned(in.shape(), dtype), again = poisoned(in.shape(), dtype), dx = poisoned(in.shape(), dtype);
    gelu_forward(gpu(), x, y);
    gelu_forward(gpu(), x, again);
    EXPECT_LT(relative_error(y, want), tolerance(dtype));
    EXPECT_TRUE(same_bytes(y, again));
    gelu_backward(gpu(), dy, x, dx);
    EXPECT_LT(relative_error(dx, want_grad), tolerance(dtype));
    gelu_backward(gpu(), dy, x, dy);
    EXPECT_TRUE(same_bytes(dy, dx)) << "in place of dout";
    gelu_backward(gpu(), upload(dout, dtype), x, x);
    EXPECT_TRUE(same_bytes(x, dx)) << "in place of x";
  }
}

// A slice whose first element is not at a multiple of 16 bytes, of a size that 16-byte accesses would fit.
TEST_P(GpuActivation, SlicesStartAnywhere) {
  const DType dtype = GetParam();
  const Tensor in = input({9, 3}, 1, dtype), want = Tensor::empty(kCpu, {8, 3}, DType::kF32);
  gelu_forward(kCpu, in.slice(1, 9), want);
  const Tensor y = poisoned({9, 3}, dtype);
  gelu_forward(gpu(), upload(in, dtype).slice(1, 9), y.slice(1, 9));
  EXPECT_LT(relative_error(y.slice(1, 9), want), tolerance(dtype));
}

// e^-x overflows on one side and vanishes on the other.
TEST_P(GpuActivation, FarFromZero) {
  const DType dtype = GetParam();
  const std::vector<float> far{-1e4f, -512, -100, -88, -64, 64, 88, 100, 512, 1e4f};
  std::vector<float> gate_up(far);
  gate_up.resize(2 * far.size(), 2.0f);
  const auto f = static_cast<std::int64_t>(far.size());
  const Tensor pair = rounded(Tensor::from<float>({1, 2 * f}, gate_up)), x = rounded(Tensor::from<float>({1, f}, far));
  const Tensor ones = Tensor::from<float>({1, f}, std::vector<float>(far.size(), 1.0f));
  const auto compare = [&](const Tensor& got, const Tensor& want) {
    EXPECT_LT(relative_error(got, want), tolerance(dtype));
  };
  const Tensor want = Tensor::empty(kCpu, {1, f}, DType::kF32), got = poisoned({1, f}, dtype);
  swiglu_forward(kCpu, pair, want);
  swiglu_forward(gpu(), upload(pair, dtype), got);
  compare(got, want);
  gelu_forward(kCpu, x, want);
  gelu_forward(gpu(), upload(x, dtype), got);
  compare(got, want);
  gelu_backward(kCpu, ones, x, want);
  gelu_backward(gpu(), upload(ones, dtype), upload(x, dtype), got);
  compare(got, want);
  const Tensor want_pair = Tensor::empty(kCpu, {1, 2 * f}, DType::kF32), got_pair = poisoned({1, 2 * f}, dtype);
  swiglu_backward(kCpu, ones, pair, want_pair);
  swiglu_backward(gpu(), upload(ones, dtype), upload(pair, dtype), got_pair);
  compare(got_pair, want_pair);
}

TEST_P(GpuActivation, NoRows) {
  const Tensor wide_rows = poisoned({2, 0, 16}, GetParam()), rows = poisoned({2, 0, 8}, GetParam());
  swiglu_forward(gpu(), wide_rows, rows);
  swiglu_backward(gpu(), rows, wide_rows, wide_rows);
  gelu_forward(gpu(), rows, rows);
  gelu_backward(gpu(), rows, rows, rows);
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuActivation, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
