#include <gtest/gtest.h>

#include "kernels/linear_fused.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

using kernels::WeightLayout;

struct Size {
  std::int64_t g, r, i, o;
};

class GpuLinear : public testing::TestWithParam<Size> {};

Shape weight_shape(const Size& s, WeightLayout layout) {
  return layout == WeightLayout::kOutIn ? Shape{s.g, s.o, s.i} : Shape{s.g, s.i, s.o};
}

TEST_P(GpuLinear, ForwardWithBiasAndResidual) {
  const Size s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const double tolerance = dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
    for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
      for (int extra = 0; extra < 4; ++extra) {
        const auto prepare = [&](const Tensor& t) { return dtype == DType::kF32 ? t : rounded(t); };
        const Tensor x = prepare(normal({s.g, s.r, s.i}, 1)), w = prepare(normal(weight_shape(s, layout), 2));
        const Tensor bias = (extra & 1) != 0 ? normal({s.g, s.o}, 3) : Tensor{};
        const Tensor residual = (extra & 2) != 0 ? prepare(normal({s.g, s.r, s.o}, 4)) : Tensor{};
        const Tensor want = Tensor::empty(Stream{}, {s.g, s.r, s.o}, DType::kF32);
        kernels::linear_forward(Stream{}, x, w, layout, bias, residual, want);
        const auto device = [&](const Tensor& t) { return t.defined() ? upload(t, dtype) : t; };
        const Tensor device_bias = bias.defined() ? upload(bias) : bias;
        const Tensor y = poisoned(want.shape(), dtype), again = poisoned(want.shape(), dtype);
        kernels::linear_forward(gpu(), device(x), device(w), layout, device_bias, device(residual), y);
        kernels::linear_forward(gpu(), device(x), device(w), layout, device_bias, device(residual), again);
        EXPECT_LT(relative_error(y, want), tolerance) << name_of(dtype) << " extra " << extra;
        EXPECT_TRUE(same_bytes(y, again));
        if (!residual.defined()) continue;
        const Tensor in_place = device(residual);
        kernels::linear_forward(gpu(), device(x), device(w), layout, device_bias, in_place, in_place);
        EXPECT_LT(relative_error(in_place, want), tolerance);
      }
    }
  }
}

// RMSNorm in front, bias, SwiGLU or residual behind: one kernel for few rows, several for more.
TEST_P(GpuLinear, Fused) {
  const Size s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    // The CPU has no roundings between the parts; of the GPU's, only the normalised input is rounded for few rows.
    const double tolerance = dtype == DType::kF32 ? kGpuF32 : 3 * kGpuBF16;
    const auto prepare = [&](const Tensor& t) { return dtype == DType::kF32 ? t : rounded(t); };
    const Tensor x = prepare(normal({s.g, s.r, s.i}, 1)), norm = normal({s.g, s.i}, 2),
                 bias = normal({s.g, 2 * s.o}, 3);
    const Tensor w = prepare(normal({s.g, 2 * s.o, s.i}, 4)), residual = prepare(normal({s.g, s.r, 2 * s.o}, 5));
    for (int extra = 0; extra < 8; ++extra) {
      const bool swiglu = (extra & 4) != 0;
      const auto run = [&](const Stream& stream, const auto& put, const auto& put_wide, const Tensor& y) {
        kernels::FusedLinear parts{.eps = 1e-5, .swiglu = swiglu};
        if ((extra & 1) != 0) parts.norm = put_wide(norm);
        if ((extra & 2) != 0) parts.bias = put_wide(bias);
        if ((extra & 2) == 0 && !swiglu) parts.residual = put(residual);
        kernels::linear_fused(stream, put(x), put(w), WeightLayout::kOutIn, parts, y);
      };
      const auto same = [](const Tensor& t) { return t; };
      const Tensor want = Tensor::empty(Stream{}, {s.g, s.r, swiglu ? s.o : 2 * s.o}, DType::kF32);
      run(Stream{}, same, same, want);
      const auto device = [&](const Tensor& t) { return upload(t, dtype); };
      const auto device_wide = [&](const Tensor& t) { return upload(t); };
      const Tensor y = poisoned(want.shape(), dtype), again = poisoned(want.shape(), dtype);
      run(gpu(), device, device_wide, y);
      run(gpu(), device, device_wide, again);
      EXPECT_LT(relative_error(y, want), tolerance) << name_of(dtype) << " extra " << extra;
      EXPECT_TRUE(same_bytes(y, again));
    }
  }
}

// A gate in front of the norm, and the last outputs wide and apart; and some outputs of several layers alone.
TEST_P(GpuLinear, GatedAndApart) {
  const Size s = GetParam();
  const std::int64_t last = std::max<std::int64_t>(1, s.o / 3), gate_width = s.i + 16;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const double tolerance = dtype == DType::kF32 ? kGpuF32 : 3 * kGpuBF16;
    const auto prepare = [&](const Tensor& t) { return dtype == DType::kF32 ? t : rounded(t); };
    const Tensor x = prepare(normal({s.g, s.r, s.i}, 1)), gate = prepare(normal({s.g, s.r, gate_width}, 2)),
                 norm = normal({s.g, s.i}, 3), w = prepare(normal({s.g, s.o + last, s.i}, 4));
    const auto run = [&](const Stream& stream, const auto& put, const auto& put_wide, const Tensor& y,
                         const Tensor& wide) {
      const kernels::FusedLinear parts{.gate = put(gate), .norm = put_wide(norm), .eps = 1e-5, .wide = wide};
      kernels::linear_fused(stream, put(x), put(w), WeightLayout::kOutIn, parts, y);
    };
    const auto same = [](const Tensor& t) { return t; };
    const Tensor want = Tensor::empty(Stream{}, {s.g, s.r, s.o}, DType::kF32),
                 want_wide = Tensor::empty(Stream{}, {s.g, s.r, last}, DType::kF32);
    run(Stream{}, same, same, want, want_wide);
    const auto device = [&](const Tensor& t) { return upload(t, dtype); };
    const auto device_wide = [&](const Tensor& t) { return upload(t); };
    const Tensor y = poisoned(want.shape(), dtype), wide = poisoned(want_wide.shape(), DType::kF32);
    run(gpu(), device, device_wide, y, wide);
    EXPECT_LT(relative_error(y, want), tolerance) << name_of(dtype);
    EXPECT_LT(relative_error(wide, want_wide), tolerance) << name_of(dtype);
    const Tensor some = poisoned(want_wide.shape(), dtype),
                 want_some = Tensor::empty(Stream{}, want_wide.shape(), DType::kF32);
    kernels::linear_forward(Stream{}, x, w, WeightLayout::kOutIn, {}, {}, want_some, false, s.o);
    kernels::linear_forward(gpu(), device(x), device(w), WeightLayout::kOutIn, {}, {}, some, false, s.o);
    EXPECT_LT(relative_error(some, want_some), tolerance) << name_of(dtype);
  }
}

TEST_P(GpuLinear, WideOutput) {
  const Size s = GetParam();
  const Tensor x = rounded(normal({s.g, s.r, s.i}, 1)), w = rounded(normal({s.g, s.o, s.i}, 2));
  const Tensor want = Tensor::empty(Stream{}, {s.g, s.r, s.o}, DType::kF32);
  kernels::linear_forward(Stream{}, x, w, WeightLayout::kOutIn, {}, {}, want);
  const Tensor y = poisoned(want.shape(), DType::kF32);
  kernels::linear_forward(gpu(), upload(x, DType::kBF16), upload(w, DType::kBF16), WeightLayout::kOutIn, {}, {}, y);
  EXPECT_LT(relative_error(y, want), kGpuF32);
}

TEST_P(GpuLinear, Gradients) {
  const Size s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const double tolerance = dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
    const auto prepare = [&](const Tensor& t) { return dtype == DType::kF32 ? t : rounded(t); };
    for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
      const Tensor x = prepare(normal({s.g, s.r, s.i}, 1)), w = prepare(normal(weight_shape(s, layout), 2));
      const Tensor dy = prepare(normal({s.g, s.r, s.o}, 3)), noise = prepare(normal(x.shape(), 4));
      for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
        const Tensor want = noise.clone(Stream{});
        kernels::linear_backward_input(Stream{}, dy, w, layout, want, mode);
        const Tensor dx = mode == GradMode::kAccumulate ? upload(noise, dtype) : poisoned(x.shape(), dtype);
        kernels::linear_backward_input(gpu(), upload(dy, dtype), upload(w, dtype), layout, dx, mode);
        EXPECT_LT(relative_error(dx, want), tolerance);
      }
      const Tensor want_w = normal(w.shape(), 5), dw = upload(want_w, DType::kF32).clone(gpu());
      kernels::linear_backward_weight(gpu(), upload(dy, dtype), upload(x, dtype), layout, dw);
      kernels::linear_backward_weight(Stream{}, dy, x, layout, want_w);
      EXPECT_LT(relative_error(dw, want_w), kGpuF32) << "f32 sums of exact products";
      const Tensor want_b = normal({s.g, s.o}, 6), db = upload(want_b, DType::kF32).clone(gpu());
      kernels::linear_backward_bias(gpu(), upload(dy, dtype), db);
      kernels::linear_backward_bias(Stream{}, dy, want_b);
      EXPECT_LT(relative_error(db, want_b), kGpuF32);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, GpuLinear,
                         testing::Values(Size{1, 1, 8, 8}, Size{1, 1, 33, 64}, Size{3, 13, 96, 40}, Size{2, 129, 64, 7},
                                         Size{3, 77, 50, 129}, Size{4, 300, 256, 384}, Size{1, 1152, 512, 1024},
                                         Size{1, 1, 2048, 3072}, Size{1, 2, 520, 9001}, Size{2, 4, 1000, 50},
                                         Size{1, 3, 24, 5}),
                         [](const testing::TestParamInfo<Size>& size) {
                           const Size& s = size.param;
                           return std::to_string(s.g) + "x" + std::to_string(s.r) + "x" + std::to_string(s.i) + "x" +
                                  std::to_string(s.o);
                         });

}  // namespace
}  // namespace wt
