#include "kernels/adamw.h"

#include <limits>

#include "kernels/cast.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

// Sizes around the widths of accesses and blocks, and one that fills the GPU more than once.
const std::int64_t kCounts[] = {1, 3, 4, 1000, 4096, 4097, (1 << 24) + 5};

Tensor squared(const Tensor& x) {
  const Tensor out = x.clone(kCpu);
  for (std::int64_t i = 0; i < x.numel(); ++i) out.data<float>()[i] *= out.data<float>()[i];
  return out;
}

double sum_on(const Stream& stream, const Tensor& g) {
  const Tensor out = stream.device().is_cuda() ? poisoned({1}, DType::kF64) : Tensor::empty(stream, {1}, DType::kF64);
  sum_of_squares(stream, g, out);
  return out.to_cpu(stream).data<double>()[0];
}

// The same elements on the GPU, one element behind an aligned address.
Tensor off_alignment(const Tensor& x) {
  const Tensor all = poisoned({x.numel() + 1}, x.dtype());
  const Tensor out = all.slice(1, x.numel() + 1);
  out.copy_from(gpu(), x);
  return out;
}

TEST(GpuAdamW, AgreesWithTheCpu) {
  for (const std::int64_t n : kCounts) {
    for (const bool aligned : {true, false}) {
      SCOPED_TRACE(cat(n, aligned ? " aligned" : " off alignment"));
      const Tensor g = normal({n}, 1, 1e-2), m = normal({n}, 2, 1e-2), v = squared(normal({n}, 3, 1e-2)),
                   w = normal({n}, 4, 0.02), joined = poisoned({n}, DType::kF32);
      const auto put = [&](const Tensor& t) { return aligned ? upload(t) : off_alignment(t); };
      const Tensor dg = put(g), dm = put(m), dv = put(v), dw = put(w),
                   high = put(Tensor::zeros(kCpu, {n}, DType::kBF16)), low = put(Tensor::zeros(kCpu, {n}, DType::kI16));
      split_float(gpu(), dw, high, low);
      const AdamWStep options{.lr = 1e-2,
                              .beta1 = 0.9,
                              .beta2 = 0.95,
                              .eps = 1e-8,
                              .decay = 0.1,
                              .scale = 0.7,
                              .limit = aligned ? 0 : 0.01,
                              .step = 3};
      adamw(gpu(), options, dg, put(m), put(v), high, low);
      adamw(gpu(), options, dg, dm, dv, dw, {});
      join_float(gpu(), high, low, joined);
      adamw(kCpu, options, g, m, v, w, {});
      EXPECT_LT(relative_error(dw, w), kGpuF32);
      EXPECT_LT(relative_error(dm, m), kGpuF32);
      EXPECT_LT(relative_error(dv, v), kGpuF32);
      EXPECT_TRUE(same_bytes(joined, dw));
      EXPECT_TRUE(same_bytes(dg, g));
    }
  }
}

TEST(GpuAdamW, SumOfSquaresAgreesWithTheCpu) {
  for (const std::int64_t n : kCounts) {
    const Tensor g = normal({n}, 1);
    const double want = sum_on(kCpu, g), got = sum_on(gpu(), upload(g));
    EXPECT_NEAR(got, want, kSameSums * want) << n;
    EXPECT_EQ(got, sum_on(gpu(), upload(g))) << n;
    EXPECT_NEAR(sum_on(gpu(), off_alignment(g)), want, kSameSums * want) << n;
  }
  EXPECT_EQ(sum_on(gpu(), Tensor::empty(gpu(), {0}, DType::kF32)), 0);
  // Squares that float32 cannot hold.
  EXPECT_NEAR(sum_on(gpu(), Tensor::from<float>(gpu(), {2}, {1e30f, 0})), 1e60, 1e54);
}

TEST(GpuAdamW, SumOfSquaresShowsWhatIsNotFinite) {
  const std::int64_t n = 100003;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t at : {std::int64_t{0}, std::int64_t{51234}, n - 1}) {
      const Tensor g = normal({n}, 1);
      g.data<float>()[at] = bad;
      EXPECT_FALSE(std::isfinite(sum_on(gpu(), upload(g)))) << bad << " at " << at;
    }
  }
}

TEST(GpuAdamW, ClippingKeepsWhatIsNotANumber) {
  const auto one = [](float value) { return Tensor::from<float>(gpu(), {1}, {value}); };
  const Tensor w = one(1);
  adamw(gpu(), {.lr = 0.1, .limit = 1}, one(std::numeric_limits<float>::quiet_NaN()), one(0), one(0), w, {});
  EXPECT_TRUE(std::isnan(w.to_cpu(gpu()).data<float>()[0]));
}

TEST(GpuAdamW, NoElements) {
  const Tensor none = Tensor::empty(gpu(), {0, 3}, DType::kF32);
  adamw(gpu(), {}, none, none, none, none, {});
}

}  // namespace
}  // namespace wt::kernels
