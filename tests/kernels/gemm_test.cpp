// The matrix product below everything: all transposes, odd sizes, tiles, split sums, batches, strides.
#include <gtest/gtest.h>
#include <omp.h>

#include <vector>

#include "kernels/gemm_cpu.h"
#include "tests/kernels/support.h"

namespace wt::kernels {
namespace {

struct Product {
  std::int64_t batch, m, n, k;
};

// op(A)·op(B) into rows of `stride` columns (the rest must stay as it is), starting from `start`.
template <class T>
std::vector<T> run(const Product& p, bool ta, bool tb, T alpha, T beta, T start, std::int64_t stride) {
  const DType dtype = kDTypeOf<T>;
  const Tensor a = normal_tensor({p.batch, p.m * p.k}, 1, dtype), b = normal_tensor({p.batch, p.k * p.n}, 2, dtype);
  std::vector<T> c(static_cast<std::size_t>(p.batch * p.m * stride), start);
  gemm<T>(p.batch, p.m, p.n, p.k, alpha, {a.data<T>(), ta ? p.m : p.k, p.m * p.k, ta},
          {b.data<T>(), tb ? p.k : p.n, p.k * p.n, tb}, beta, {c.data(), stride, p.m * stride});
  return c;
}

std::vector<double> plain(const Product& p, bool ta, bool tb, double alpha, double start, double around,
                          std::int64_t stride) {
  const auto a = values_of(normal_tensor({p.batch, p.m * p.k}, 1, DType::kF64)),
             b = values_of(normal_tensor({p.batch, p.k * p.n}, 2, DType::kF64));
  std::vector<double> c(static_cast<std::size_t>(p.batch * p.m * stride), around);
  for (std::int64_t g = 0; g < p.batch; ++g) {
    for (std::int64_t i = 0; i < p.m; ++i) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (std::int64_t q = 0; q < p.k; ++q) {
          sum += a[static_cast<std::size_t>(g * p.m * p.k + (ta ? q * p.m + i : i * p.k + q))] *
                 b[static_cast<std::size_t>(g * p.k * p.n + (tb ? j * p.k + q : q * p.n + j))];
        }
        c[static_cast<std::size_t>((g * p.m + i) * stride + j)] = start + alpha * sum;
      }
    }
  }
  return c;
}

class Gemm : public testing::TestWithParam<Product> {};

TEST_P(Gemm, AllTransposesOverNanAndAdding) {
  const Product p = GetParam();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      // beta 0 must not read C; columns beyond n belong to someone else.
      std::vector<double> over = run<double>(p, ta, tb, 1.5, 0, nan, p.n + 2);
      std::vector<double> expected = plain(p, ta, tb, 1.5, 0, 42, p.n + 2);
      for (std::size_t i = 0; i < over.size(); ++i) {
        if (static_cast<std::int64_t>(i) % (p.n + 2) < p.n) continue;
        ASSERT_TRUE(std::isnan(over[i]));
        over[i] = 42;
      }
      EXPECT_LT(largest_error(over, expected), 1e-11) << ta << tb;
      EXPECT_LT(largest_error(run<double>(p, ta, tb, -1, 1, 3, p.n), plain(p, ta, tb, -1, 3, 0, p.n)), 1e-11)
          << ta << tb;
      const std::vector<float> single = run<float>(p, ta, tb, 1, 0, 7, p.n);
      EXPECT_LT(largest_error({single.begin(), single.end()}, plain(p, ta, tb, 1, 0, 0, p.n)), 2e-4) << ta << tb;
    }
  }
}

TEST_P(Gemm, SameBitsForAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const bool ta : {false, true}) {
    omp_set_num_threads(1);
    const std::vector<float> one = run<float>(GetParam(), ta, !ta, 1, 0, 0, GetParam().n);
    for (const int threads : {2, 3, 5}) {
      omp_set_num_threads(threads);
      EXPECT_EQ(one, run<float>(GetParam(), ta, !ta, 1, 0, 0, GetParam().n)) << threads;
    }
  }
  omp_set_num_threads(before);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemm,
                         testing::Values(Product{1, 1, 1, 1}, Product{3, 5, 7, 2}, Product{2, 1, 33, 17},
                                         Product{1, 193, 3, 5}, Product{1, 2, 513, 3}, Product{2, 200, 530, 4},
                                         // Long inner sums into small outputs are cut into pieces: 2 of 1025, 8 (the
                                         // most) of 1126, and 3 for each of two matrices.
                                         Product{1, 3, 5, 2049}, Product{1, 2, 3, 9001}, Product{2, 3, 2, 3500},
                                         Product{1, 195, 2, 2100}),
                         [](const testing::TestParamInfo<Product>& given) {
                           const Product& p = given.param;
                           return cat(p.batch, "x", p.m, "x", p.n, "x", p.k);
                         });

TEST(Gemm, EmptyExtents) {
  EXPECT_TRUE(run<double>({0, 2, 3, 4}, false, false, 1, 0, 5, 3).empty());
  EXPECT_TRUE(run<double>({2, 0, 3, 4}, false, false, 1, 0, 5, 3).empty());
  // An empty sum is zero, or what was there.
  EXPECT_EQ(run<double>({1, 2, 2, 0}, false, true, 1, 0, 5, 2), std::vector<double>(4, 0));
  EXPECT_EQ(run<double>({1, 2, 2, 0}, true, false, 1, 1, 5, 2), std::vector<double>(4, 5));
}

}  // namespace
}  // namespace wt::kernels
