#include "kernels/sample.h"

#include <cmath>
#include <limits>

#include "core/random.h"
#include "tests/support/gpu.h"

namespace wt::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::int32_t> on_cpu(const Tensor& x, double temperature, double top_p, const Tensor& uniform) {
  const Tensor index = Tensor::empty(Stream{}, {x.dim(0)}, DType::kI32);
  sample_rows(Stream{}, x, temperature, top_p, uniform, index);
  return index.to_vector<std::int32_t>();
}

std::vector<std::int32_t> on_gpu(const Tensor& x, DType dtype, double temperature, double top_p,
                                 const Tensor& uniform) {
  const Tensor index = poisoned({x.dim(0)}, DType::kI32);
  sample_rows(gpu(), upload(x, dtype), temperature, top_p, upload(uniform), index);
  return index.to_cpu(gpu()).to_vector<std::int32_t>();
}

TEST(GpuSample, DrawsWhatTheCpuDraws) {
  RandomStream random(1, random_stream(RandomPurpose::kTest, 8));
  std::int64_t compared = 0, other = 0;
  for (const std::int64_t width : {1, 2, 7, 1000, 1024, 8191, 50257, 128256}) {
    const std::int64_t rows = width > 10000 ? 8 : 50;
    std::vector<double> draws;
    for (std::int64_t i = 0; i < rows; ++i) draws.push_back(random.uniform());
    const Tensor uniform = Tensor::from<double>({rows}, draws);
    const Tensor x = normal({rows, width}, static_cast<std::uint64_t>(width), 3);
    for (const double top_p : {1.0, 0.95, 0.5, 0.01}) {
      for (const double temperature : {0.3, 1.0}) {
        SCOPED_TRACE(cat(rows, " rows of ", width, ", top_p ", top_p, ", temperature ", temperature));
        const auto a = on_gpu(x, DType::kF32, temperature, top_p, uniform), b = on_cpu(x, temperature, top_p, uniform);
        EXPECT_EQ(on_gpu(x, DType::kF32, temperature, top_p, uniform), a);
        // bfloat16 has many equal elements at the nucleus's end.
        const auto c = on_gpu(x, DType::kBF16, temperature, top_p, uniform),
                   d = on_cpu(rounded(x), temperature, top_p, uniform);
        for (std::size_t i = 0; i < a.size(); ++i) {
          compared += 2;
          other += (a[i] != b[i] ? 1 : 0) + (c[i] != d[i] ? 1 : 0);
        }
      }
    }
  }
  // A draw may fall between two elements, or the nucleus end there, within the rounding of single-precision weights.
  EXPECT_GT(compared, 2000);
  EXPECT_LE(other, compared / 200) << "of " << compared;
}

TEST(GpuSample, TiesAndSpecialNumbers) {
  const auto draw = [](std::vector<float> row, double top_p, double u) {
    const Tensor x = Tensor::from<float>({1, static_cast<std::int64_t>(row.size())}, row);
    const Tensor uniform = Tensor::from<double>({1}, {u});
    const auto got = on_gpu(x, DType::kF32, 1, top_p, uniform);
    EXPECT_EQ(got, on_cpu(x, 1, top_p, uniform));
    return got.at(0);
  };
  EXPECT_EQ(draw({0, 1, 1, 1, 0}, 0.5, 0), 1);
  EXPECT_EQ(draw({0, 1, 1, 1, 0}, 0.5, 0.999), 2);
  EXPECT_EQ(draw({0, -0.0f, 0, -0.0f}, 0.5, 0.999), 1);
  EXPECT_EQ(draw({kNaN, 2, kNaN, 2}, 1, 0.6), 3);
  EXPECT_EQ(draw({kNaN, 2, kNaN, 2}, 0.5, 0.6), 1);
  EXPECT_EQ(draw({kNaN, kNaN}, 0.5, 0.6), 0);
  EXPECT_EQ(draw({-kInfinity, 1, -kInfinity}, 1, 0.99), 1);
  EXPECT_EQ(draw({5, kInfinity, 3}, 0.9, 0.01), 1);
  EXPECT_EQ(draw({-kInfinity, -kInfinity}, 1, 0.6), 1);
  sample_rows(gpu(), Tensor::empty(gpu(), {0, 5}, DType::kF32), 1, 1, Tensor::empty(gpu(), {0}, DType::kF64),
              Tensor::empty(gpu(), {0}, DType::kI32));
}

}  // namespace
}  // namespace wt::kernels
