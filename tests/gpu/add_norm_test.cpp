#include "kernels/add_norm.h"

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
// Every tile in both dtypes, widths that no tile fits, and the wave of Llama-1B (with fewer layers).
const Size kSizes[] = {{1, 1, 5},       {1, 13, 8},    {3, 13, 37},   {3, 129, 16},  {1, 129, 96},
                       {3, 13, 100},    {2, 129, 256}, {2, 13, 512},  {12, 13, 768}, {3, 5, 1024},
                       {4, 1152, 2048}, {2, 13, 4096}, {1, 13, 8192}, {3, 3, 16384}, {1, 3, 20000}};

struct Setting {
  DType dtype;
  bool layer, ordered;
};

class GpuAddNorm : public ::testing::TestWithParam<Setting> {
 protected:
  const DType dtype_ = GetParam().dtype;
  double tolerance() const { return dtype_ == DType::kBF16 ? kGpuBF16 : kGpuF32; }

  Tensor input(Shape shape, std::uint64_t seed) const {
    const Tensor x = normal(shape, seed);
    return dtype_ == DType::kBF16 ? rounded(x) : x;
  }
  // Layer g at place g + 1, the last at 0.
  static Tensor order_of(std::int64_t layers) {
    if (!GetParam().ordered) return {};
    std::vector<std::int32_t> places;
    for (std::int64_t g = 0; g < layers; ++g) places.push_back(static_cast<std::int32_t>((g + 1) % layers));
    return Tensor::from<std::int32_t>({layers}, places);
  }
  static Tensor on(const Stream& stream, const Tensor& t) { return t.defined() ? t.to(stream) : t; }

  struct Outputs {
    Tensor h, n, mean, rstd;
  };
  static void forward(const Stream& stream, const Tensor& x, const Tensor& delta, const Tensor& order, const Tensor& w,
                      const Tensor& b, const Outputs& out) {
    if (GetParam().layer) {
      add_layer_norm_forward(stream, x, delta, order, w, b, kEps, out.h, out.n, out.mean, out.rstd);
    } else {
      add_rms_norm_forward(stream, x, delta, order, w, kEps, out.h, out.n, out.rstd);
    }
  }
  struct Gradients {
    Tensor dh, ddelta, dw, db;
  };
  static void backward(const Stream& stream, const Tensor& dn, const Outputs& f, const Tensor& order, const Tensor& w,
                       GradMode mode, const Gradients& to) {
    if (GetParam().layer) {
      add_layer_norm_backward(stream, dn, f.h, w, f.mean, f.rstd, order, to.dh, mode, to.dw, to.db, to.ddelta);
    } else {
      add_rms_norm_backward(stream, dn, f.h, w, f.rstd, order, to.dh, mode, to.dw, to.ddelta);
    }
  }
};

TEST_P(GpuAddNorm, AsOnTheCpu) {
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.r, " x ", s.d));
    const Shape shape{s.g, s.r, s.d}, by_row{s.g, s.r}, by_layer{s.g, s.d};
    const Tensor x = input(shape, 1), delta = input(shape, 2), w = normal(by_layer, 3), b = normal(by_layer, 4);
    const Tensor order = order_of(s.g), device_order = on(gpu(), order);
    const auto made = [&](const Shape& like) { return Tensor::empty(kCpu, like, DType::kF32); };
    Outputs want{made(shape), made(shape), made(by_row), made(by_row)};
    forward(kCpu, x, delta, order, w, b, want);
    const Outputs got{poisoned(shape, dtype_), poisoned(shape, dtype_), poisoned(by_row, DType::kF32),
                      poisoned(by_row, DType::kF32)};
    const Tensor on_x = upload(x, dtype_), on_delta = upload(delta, dtype_), on_w = upload(w), on_b = upload(b);
    forward(gpu(), on_x, on_delta, device_order, on_w, on_b, got);
    // One addition, rounded once.
    EXPECT_TRUE(same_bytes(got.h, want.h.to(kCpu, dtype_)));
    EXPECT_LT(relative_error(got.n, want.n), tolerance());
    EXPECT_LT(relative_error(got.rstd, want.rstd), tolerance());
    const Outputs in_place{on_x, poisoned(shape, dtype_), poisoned(by_row, DType::kF32), poisoned(by_row, DType::kF32)};
    forward(gpu(), on_x, on_delta, device_order, on_w, on_b, in_place);
    EXPECT_TRUE(same_bytes(in_place.h, got.h)) << "in place";
    EXPECT_TRUE(same_bytes(in_place.n, got.n)) << "in place";

    // Backward on both from what the GPU's forward left.
    const Stream& stream = gpu();
    const auto fetched = [&](const Tensor& t) { return t.to_cpu(stream).to(kCpu, DType::kF32); };
    if (!GetParam().layer) got.mean.fill_zero(gpu());
    const Outputs left{fetched(got.h), fetched(got.n), fetched(got.mean), fetched(got.rstd)};
    const Tensor dn = input(shape, 5), before = input(shape, 6), noise_w = normal(by_layer, 7),
                 noise_b = normal(by_layer, 8), on_dn = upload(dn, dtype_);
    for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
      for (const bool all : {true, false}) {
        SCOPED_TRACE(cat("mode ", static_cast<int>(mode), ", all ", all));
        const auto optional = [&](const Tensor& t) { return all ? t : Tensor{}; };
        const Gradients expected{before.clone(kCpu), optional(made(shape)), optional(noise_w.clone(kCpu)),
                                 optional(noise_b.clone(kCpu))};
        backward(kCpu, dn, left, order, w, mode, expected);
        const auto run = [&] {
          const Gradients to{mode == GradMode::kAccumulate ? upload(before, dtype_) : poisoned(shape, dtype_),
                             optional(poisoned(shape, dtype_)), optional(upload(noise_w)), optional(upload(noise_b))};
          backward(gpu(), on_dn, got, device_order, on_w, mode, to);
          return to;
        };
        const Gradients one = run(), two = run();
        EXPECT_LT(relative_error(one.dh, expected.dh), tolerance());
        EXPECT_TRUE(same_bytes(one.dh, two.dh));
        if (!all) continue;
        for (std::int64_t g = 0; g < s.g; ++g) {
          const std::int64_t place = order.defined() ? order.data<std::int32_t>()[g] : g;
          EXPECT_TRUE(same_bytes(one.ddelta.select(place), one.dh.select(g))) << "layer " << g;
        }
        EXPECT_LT(relative_error(one.dw, expected.dw), kGpuF32);
        EXPECT_TRUE(same_bytes(one.dw, two.dw));
        if (!GetParam().layer) continue;
        EXPECT_LT(relative_error(one.db, expected.db), kGpuF32);
        EXPECT_TRUE(same_bytes(one.db, two.db));
      }
    }
  }
}

TEST_P(GpuAddNorm, NoRows) {
  const Shape shape{2, 0, 16}, by_row{2, 0};
  const Tensor x = poisoned(shape, dtype_), w = upload(normal({2, 16}, 1)), dw = upload(normal({2, 16}, 2)),
               db = upload(normal({2, 16}, 3));
  const Tensor order = on(gpu(), order_of(2));
  const Outputs out{poisoned(shape, dtype_), poisoned(shape, dtype_), poisoned(by_row, DType::kF32),
                    poisoned(by_row, DType::kF32)};
  forward(gpu(), x, poisoned(shape, dtype_), order, w, w, out);
  backward(gpu(), x, out, order, w, GradMode::kOverwrite, {poisoned(shape, dtype_), poisoned(shape, dtype_), dw, db});
  EXPECT_TRUE(same_bytes(dw, normal({2, 16}, 2)));
  EXPECT_TRUE(same_bytes(db, normal({2, 16}, 3)));
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool layer : {false, true}) {
      for (const bool ordered : {false, true}) all.push_back({dtype, layer, ordered});
    }
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Settings, GpuAddNorm, ::testing::ValuesIn(settings()), [](const auto& given) {
  const Setting& s = given.param;
  return cat(name_of(s.dtype), s.layer ? "LayerNorm" : "RmsNorm", s.ordered ? "InAnotherOrder" : "");
});

}  // namespace
}  // namespace wt::kernels
