#include "kernels/rms_norm.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;
constexpr double kEps = 1e-5;

struct Size {
  std::int64_t g, r, d;
};
// Every tile in both dtypes, widths that no tile fits, and the wave of Llama-1B (with fewer layers).
const Size kSizes[] = {{1, 1, 5},       {1, 13, 8},    {3, 13, 37},   {3, 129, 16},  {1, 129, 96},
                       {3, 13, 100},    {2, 129, 256}, {2, 13, 512},  {12, 13, 768}, {3, 5, 1024},
                       {4, 1152, 2048}, {2, 13, 4096}, {1, 13, 8192}, {3, 3, 16384}, {1, 3, 20000}};

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? kGpuBF16 : kGpuF32;
}
Tensor input(Shape shape, std::uint64_t seed, DType dtype) {
  const Tensor x = normal(shape, seed);
  return dtype == DType::kBF16 ? rounded(x) : x;
}

struct Case {
  Tensor x, w, y, rstd;
};
// Inputs and the CPU's outputs.
Case forward(const Size& s, DType dtype) {
  Case c{input({s.g, s.r, s.d}, 1, dtype), normal({s.g, s.d}, 2), Tensor::empty(kCpu, {s.g, s.r, s.d}, DType::kF32),
         Tensor::empty(kCpu, {s.g, s.r}, DType::kF32)};
  rms_norm_forward(kCpu, c.x, c.w, kEps, c.y, c.rstd);
  return c;
}

class GpuRmsNorm : public ::testing::TestWithParam<DType> {};

TEST_P(GpuRmsNorm, ForwardAsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.r, " x ", s.d));
    const Case c = forward(s, dtype);
    const Tensor x = upload(c.x, dtype), w = upload(c.w);
    const Tensor y = poisoned(x.shape(), dtype), rstd = poisoned({s.g, s.r}, DType::kF32);
    rms_norm_forward(gpu(), x, w, kEps, y, rstd);
    EXPECT_LT(relative_error(y, c.y), tolerance(dtype));
    EXPECT_LT(relative_error(rstd, c.rstd), kGpuF32);
    rms_norm_forward(gpu(), x, w, kEps, x, rstd);
    EXPECT_TRUE(same_bytes(x, y)) << "in place";
  }
}

TEST_P(GpuRmsNorm, BackwardAsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    const Case c = forward(s, dtype);
    const Tensor dy = input(c.x.shape(), 3, dtype), before = input(c.x.shape(), 4, dtype);
    const Tensor noise = normal({s.g, s.d}, 5);
    const Tensor x = upload(c.x, dtype), w = upload(c.w), rstd = upload(c.rstd), grad = upload(dy, dtype);
    for (const GradMode mode : {GradMode::kSkip, GradMode::kOverwrite, GradMode::kAccumulate}) {
      for (const bool weight : {true, false}) {
        SCOPED_TRACE(cat(s.g, " x ", s.r, " x ", s.d, ", mode ", static_cast<int>(mode), ", dw ", weight));
        const Tensor want_dx = mode == GradMode::kSkip ? Tensor{} : before.clone(kCpu);
        const Tensor want_dw = weight ? noise.clone(kCpu) : Tensor{};
        rms_norm_backward(kCpu, dy, c.x, c.w, c.rstd, want_dx, mode, want_dw);
        const auto run = [&] {
          Tensor dx;
          if (mode == GradMode::kOverwrite) dx = poisoned(x.shape(), dtype);
          if (mode == GradMode::kAccumulate) dx = upload(before, dtype);
          const Tensor dw = weight ? upload(noise) : Tensor{};
          rms_norm_backward(gpu(), grad, x, w, rstd, dx, mode, dw);
          return std::pair(dx, dw);
        };
        const auto [dx, dw] = run();
        const auto [again_dx, again_dw] = run();
        if (dx.defined()) {
          EXPECT_LT(relative_error(dx, want_dx), tolerance(dtype));
          EXPECT_TRUE(same_bytes(dx, again_dx));
        }
        if (dw.defined()) {
          EXPECT_LT(relative_error(dw, want_dw), kGpuF32);
          EXPECT_TRUE(same_bytes(dw, again_dw));
        }
      }
    }
    // In place of dy.
    const Tensor dx = poisoned(x.shape(), dtype), dw = upload(noise), in_place_dw = upload(noise);
    rms_norm_backward(gpu(), grad, x, w, rstd, dx, GradMode::kOverwrite, dw);
    rms_norm_backward(gpu(), grad, x, w, rstd, grad, GradMode::kOverwrite, in_place_dw);
    EXPECT_TRUE(same_bytes(grad, dx)) << s.d;
    EXPECT_TRUE(same_bytes(in_place_dw, dw)) << s.d;
  }
}

// Layers written to and read from another order give the bits of those in their own.
TEST_P(GpuRmsNorm, InAnotherOrder) {
  const DType dtype = GetParam();
  const std::vector<std::int32_t> places{2, 0, 1};
  const Tensor order = upload(Tensor::from<std::int32_t>({3}, places));
  for (const std::int64_t d : {37, 96, 768, 2048, 20000}) {
    const Shape shape{3, 13, d};
    const Tensor x = upload(input(shape, 1, dtype), dtype), w = upload(normal({3, d}, 2));
    const Tensor plain = poisoned(shape, dtype), y = poisoned(shape, dtype), rstd = poisoned({3, 13}, DType::kF32);
    rms_norm_forward(gpu(), x, w, kEps, plain, rstd);
    rms_norm_forward(gpu(), x, w, kEps, y, rstd, order);
    const Tensor dy = upload(input(shape, 3, dtype), dtype), before = upload(input(shape, 4, dtype), dtype);
    const Tensor turned = poisoned(shape, dtype);
    for (std::int64_t g = 0; g < 3; ++g) {
      const std::int64_t place = places[static_cast<std::size_t>(g)];
      EXPECT_TRUE(same_bytes(y.select(place), plain.select(g))) << d;
      turned.select(place).copy_from(gpu(), dy.select(g));
    }
    const Tensor plain_dx = before.clone(gpu()), dx = before.clone(gpu());
    const Tensor plain_dw = upload(normal({3, d}, 5)), dw = upload(normal({3, d}, 5));
    rms_norm_backward(gpu(), dy, x, w, rstd, plain_dx, GradMode::kAccumulate, plain_dw);
    rms_norm_backward(gpu(), turned, x, w, rstd, dx, GradMode::kAccumulate, dw, order);
    EXPECT_TRUE(same_bytes(dx, plain_dx)) << d;
    EXPECT_TRUE(same_bytes(dw, plain_dw)) << d;
  }
}

TEST_P(GpuRmsNorm, PlacesThatAreNotThereAreFaults) {
  for (const std::int64_t d : {37, 96}) {
    for (const std::int32_t place : {3, -1}) {
      const Tensor x = upload(input({3, 2, d}, 1, GetParam()), GetParam()), w = upload(normal({3, d}, 2));
      const Tensor order = upload(Tensor::from<std::int32_t>({3}, {0, place, 1}));
      rms_norm_forward(gpu(), x, w, kEps, poisoned(x.shape(), GetParam()), poisoned({3, 2}, DType::kF32), order);
      EXPECT_ERROR(gpu().synchronize(), Error, "norm: an order names no layer of its tensor");
    }
  }
}

TEST_P(GpuRmsNorm, NoRows) {
  const Tensor x = poisoned({2, 0, 16}, GetParam()), w = upload(normal({2, 16}, 1)),
               rstd = poisoned({2, 0}, DType::kF32);
  const Tensor dw = upload(normal({2, 16}, 2));
  rms_norm_forward(gpu(), x, w, kEps, x, rstd);
  rms_norm_backward(gpu(), x, x, w, rstd, x, GradMode::kOverwrite, dw);
  EXPECT_TRUE(same_bytes(dw, normal({2, 16}, 2)));
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuRmsNorm, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
