#include "kernels/layer_norm.h"

#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;
constexpr double kEps = 1e-5;

struct Size {
  std::int64_t g, r, d;
};
// Every tile in both dtypes, widths that no tile fits, and a wave of GPT-2's width times that of Llama-1B.
const Size kSizes[] = {{1, 1, 8},     {3, 13, 37},   {3, 129, 16},  {1, 129, 96}, {3, 13, 100},
                       {2, 129, 256}, {2, 13, 512},  {12, 13, 768}, {3, 5, 1024}, {4, 1152, 2048},
                       {2, 13, 4096}, {1, 13, 8192}, {3, 3, 16384}, {1, 3, 20000}};

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? kGpuBF16 : kGpuF32;
}
// Off centre, so that a mean left out is seen.
Tensor input(Shape shape, std::uint64_t seed, DType dtype) {
  auto values = normal(shape, seed).to_vector<float>();
  for (float& value : values) value += 0.5f;
  const Tensor x = Tensor::from<float>(shape, values);
  return dtype == DType::kBF16 ? rounded(x) : x;
}

struct Case {
  Tensor x, w, b, y, mean, rstd;
};
// Inputs and the CPU's outputs.
Case forward(const Size& s, DType dtype) {
  Case c{input({s.g, s.r, s.d}, 1, dtype),
         normal({s.g, s.d}, 2),
         normal({s.g, s.d}, 3),
         Tensor::empty(kCpu, {s.g, s.r, s.d}, DType::kF32),
         Tensor::empty(kCpu, {s.g, s.r}, DType::kF32),
         Tensor::empty(kCpu, {s.g, s.r}, DType::kF32)};
  layer_norm_forward(kCpu, c.x, c.w, c.b, kEps, c.y, c.mean, c.rstd);
  return c;
}

class GpuLayerNorm : public ::testing::TestWithParam<DType> {};

TEST_P(GpuLayerNorm, ForwardAsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.r, " x ", s.d));
    const Case c = forward(s, dtype);
    const Tensor x = upload(c.x, dtype), w = upload(c.w), b = upload(c.b);
    const Tensor y = poisoned(x.shape(), dtype);
    const Tensor mean = poisoned({s.g, s.r}, DType::kF32), rstd = poisoned({s.g, s.r}, DType::kF32);
    layer_norm_forward(gpu(), x, w, b, kEps, y, mean, rstd);
    EXPECT_LT(relative_error(y, c.y), tolerance(dtype));
    EXPECT_LT(relative_error(mean, c.mean), kGpuF32);
    EXPECT_LT(relative_error(rstd, c.rstd), kGpuF32);
    layer_norm_forward(gpu(), x, w, b, kEps, x, mean, rstd);
    EXPECT_TRUE(same_bytes(x, y)) << "in place";
  }
}

TEST_P(GpuLayerNorm, BackwardAsOnTheCpu) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    const Case c = forward(s, dtype);
    const Tensor dy = input(c.x.shape(), 4, dtype), before = input(c.x.shape(), 5, dtype);
    const Tensor noise_w = normal({s.g, s.d}, 6), noise_b = normal({s.g, s.d}, 7);
    const Tensor x = upload(c.x, dtype), w = upload(c.w), mean = upload(c.mean), rstd = upload(c.rstd);
    const Tensor grad = upload(dy, dtype);
    for (const GradMode mode : {GradMode::kSkip, GradMode::kOverwrite, GradMode::kAccumulate}) {
      for (const bool parameters : {true, false}) {
        SCOPED_TRACE(cat(s.g, " x ", s.r, " x ", s.d, ", mode ", static_cast<int>(mode), ", dw ", parameters));
        const Tensor want_dx = mode == GradMode::kSkip ? Tensor{} : before.clone(kCpu);
        const Tensor want_dw = parameters ? noise_w.clone(kCpu) : Tensor{};
        const Tensor want_db = parameters ? noise_b.clone(kCpu) : Tensor{};
        layer_norm_backward(kCpu, dy, c.x, c.w, c.mean, c.rstd, want_dx, mode, want_dw, want_db);
        const auto run = [&] {
          std::vector<Tensor> out(3);
          if (mode == GradMode::kOverwrite) out[0] = poisoned(x.shape(), dtype);
          if (mode == GradMode::kAccumulate) out[0] = upload(before, dtype);
          if (parameters) out[1] = upload(noise_w);
          if (parameters) out[2] = upload(noise_b);
          layer_norm_backward(gpu(), grad, x, w, mean, rstd, out[0], mode, out[1], out[2]);
          return out;
        };
        const auto got = run(), again = run();
        if (mode != GradMode::kSkip) {
          EXPECT_LT(relative_error(got[0], want_dx), tolerance(dtype));
        }
        if (parameters) {
          EXPECT_LT(relative_error(got[1], want_dw), kGpuF32);
          EXPECT_LT(relative_error(got[2], want_db), kGpuF32);
        }
        for (std::size_t i = 0; i < got.size(); ++i) {
          EXPECT_TRUE(!got[i].defined() || same_bytes(got[i], again[i])) << "output " << i;
        }
      }
    }
    // In place of dy.
    const Tensor dx = poisoned(x.shape(), dtype), dw = upload(noise_w), db = upload(noise_b);
    const Tensor in_place_dw = upload(noise_w), in_place_db = upload(noise_b);
    layer_norm_backward(gpu(), grad, x, w, mean, rstd, dx, GradMode::kOverwrite, dw, db);
    layer_norm_backward(gpu(), grad, x, w, mean, rstd, grad, GradMode::kOverwrite, in_place_dw, in_place_db);
    EXPECT_TRUE(same_bytes(grad, dx)) << s.d;
    EXPECT_TRUE(same_bytes(in_place_dw, dw)) << s.d;
    EXPECT_TRUE(same_bytes(in_place_db, db)) << s.d;
  }
}

// Layers written to and read from another order give the bits of those in their own.
TEST_P(GpuLayerNorm, InAnotherOrder) {
  const DType dtype = GetParam();
  const std::vector<std::int32_t> places{2, 0, 1};
  const Tensor order = upload(Tensor::from<std::int32_t>({3}, places));
  for (const std::int64_t d : {37, 96, 768, 2048, 20000}) {
    const Shape shape{3, 13, d};
    const Tensor x = upload(input(shape, 1, dtype), dtype), w = upload(normal({3, d}, 2)),
                 b = upload(normal({3, d}, 6));
    const Tensor plain = poisoned(shape, dtype), y = poisoned(shape, dtype);
    const Tensor mean = poisoned({3, 13}, DType::kF32), rstd = poisoned({3, 13}, DType::kF32);
    layer_norm_forward(gpu(), x, w, b, kEps, plain, mean, rstd);
    layer_norm_forward(gpu(), x, w, b, kEps, y, mean, rstd, order);
    const Tensor dy = upload(input(shape, 3, dtype), dtype), before = upload(input(shape, 4, dtype), dtype);
    const Tensor turned = poisoned(shape, dtype);
    for (std::int64_t g = 0; g < 3; ++g) {
      const std::int64_t place = places[static_cast<std::size_t>(g)];
      EXPECT_TRUE(same_bytes(y.select(place), plain.select(g))) << d;
      turned.select(place).copy_from(gpu(), dy.select(g));
    }
    const Tensor plain_dx = before.clone(gpu()), dx = before.clone(gpu());
    const Tensor plain_dw = upload(normal({3, d}, 5)), dw = upload(normal({3, d}, 5));
    const Tensor plain_db = upload(normal({3, d}, 7)), db = upload(normal({3, d}, 7));
    layer_norm_backward(gpu(), dy, x, w, mean, rstd, plain_dx, GradMode::kAccumulate, plain_dw, plain_db);
    layer_norm_backward(gpu(), turned, x, w, mean, rstd, dx, GradMode::kAccumulate, dw, db, order);
    EXPECT_TRUE(same_bytes(dx, plain_dx)) << d;
    EXPECT_TRUE(same_bytes(dw, plain_dw)) << d;
    EXPECT_TRUE(same_bytes(db, plain_db)) << d;
  }
}

// A mean far from zero: the variance must not be a difference of large sums.
TEST_P(GpuLayerNorm, FarFromZero) {
  const DType dtype = GetParam();
  for (const std::int64_t d : {96, 100, 2048, 4096}) {
    std::vector<float> values = normal({1, 13, d}, 1).to_vector<float>();
    for (float& value : values) value = 512 + 4 * std::round(value);  // exact in bfloat16
    const Tensor x = Tensor::from<float>({1, 13, d}, values), w = normal({1, d}, 2), b = normal({1, d}, 3);
    const Tensor exact = Tensor::empty(kCpu, x.shape(), DType::kF64);
    const Tensor exact_mean = Tensor::empty(kCpu, {1, 13}, DType::kF64), exact_rstd = exact_mean.clone(kCpu);
    layer_norm_forward(kCpu, x.to(kCpu, DType::kF64), w.to(kCpu, DType::kF64), b.to(kCpu, DType::kF64), kEps, exact,
                       exact_mean, exact_rstd);
    const Tensor y = poisoned(x.shape(), dtype);
    const Tensor mean = poisoned({1, 13}, DType::kF32), rstd = poisoned({1, 13}, DType::kF32);
    layer_norm_forward(gpu(), upload(x, dtype), upload(w), upload(b), kEps, y, mean, rstd);
    // A mean near 512 is rounded by up to 3e-5, which is 8e-6 of the spread.
    EXPECT_LT(relative_error(y, exact), dtype == DType::kBF16 ? kGpuBF16 : 2e-5) << d;
    EXPECT_LT(relative_error(rstd, exact_rstd), kGpuF32) << d;
  }
}

TEST_P(GpuLayerNorm, NoRows) {
  const Tensor x = poisoned({2, 0, 16}, GetParam()), w = upload(normal({2, 16}, 1)),
               row = poisoned({2, 0}, DType::kF32);
  const Tensor dw = upload(normal({2, 16}, 2)), db = upload(normal({2, 16}, 3));
  layer_norm_forward(gpu(), x, w, w, kEps, x, row, row);
  layer_norm_backward(gpu(), x, x, w, row, row, x, GradMode::kOverwrite, dw, db);
  EXPECT_TRUE(same_bytes(dw, normal({2, 16}, 2)));
  EXPECT_TRUE(same_bytes(db, normal({2, 16}, 3)));
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuLayerNorm, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
