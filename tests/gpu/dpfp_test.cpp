#include "kernels/dpfp.h"

#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Size {
  std::int64_t g, t, d, nu;
};
// d and nu that 16-byte accesses fit in both dtypes, in f32 only, in neither; the largest nu; the last is a wave of
// Llama-1B.
const Size kSizes[] = {{1, 1, 8, 1},  {1, 13, 16, 3}, {3, 129, 12, 3}, {3, 13, 37, 5}, {1, 7, 8, 8},     {2, 5, 8, 15},
                       {1, 13, 4, 4}, {1, 3, 1, 1},   {3, 13, 64, 4},  {2, 13, 64, 5}, {16, 1152, 64, 3}};

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? kGpuBF16 : kGpuF32;
}
// Some zeros of either sign among them: there the map has a kink, and its gradient is zero.
Tensor input(Shape shape, std::uint64_t seed, DType dtype) {
  std::vector<float> values = normal(shape, seed).to_vector<float>();
  for (std::size_t i = 0; i < values.size(); i += 7) values[i] = i % 2 == 0 ? 0.0f : -0.0f;
  const Tensor x = Tensor::from<float>(shape, values);
  return dtype == DType::kBF16 ? rounded(x) : x;
}

class GpuDpfp : public ::testing::TestWithParam<DType> {};

TEST_P(GpuDpfp, AsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.t, " x ", s.d, ", nu ", s.nu));
    const Tensor in = input({s.g, 1, s.t, s.d}, 1, dtype);
    const Tensor grad = input({s.g, 1, s.t, 2 * s.nu * s.d}, 2, dtype);
    const Tensor want = Tensor::empty(kCpu, grad.shape(), DType::kF32);
    const Tensor want_grad = Tensor::empty(kCpu, in.shape(), DType::kF32);
    dpfp_forward(kCpu, in, s.nu, want);
    dpfp_backward(kCpu, grad, in, s.nu, want_grad);

    const Tensor x = upload(in, dtype), dphi = upload(grad, dtype);
    const auto run = [&] {
      const Tensor phi = poisoned(grad.shape(), dtype), dx = poisoned(in.shape(), dtype);
      dpfp_forward(gpu(), x, s.nu, phi);
      dpfp_backward(gpu(), dphi, x, s.nu, dx);
      return std::pair(phi, dx);
    };
    const auto [phi, dx] = run();
    const auto [again_phi, again_dx] = run();
    EXPECT_LT(relative_error(phi, want), tolerance(dtype));
    EXPECT_LT(relative_error(dx, want_grad), tolerance(dtype));
    EXPECT_TRUE(same_bytes(phi, again_phi));
    EXPECT_TRUE(same_bytes(dx, again_dx));
  }
}

TEST_P(GpuDpfp, NoRows) {
  const Tensor x = poisoned({2, 0, 16}, GetParam()), phi = poisoned({2, 0, 96}, GetParam());
  dpfp_forward(gpu(), x, 3, phi);
  dpfp_backward(gpu(), phi, x, 3, x);
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuDpfp, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
