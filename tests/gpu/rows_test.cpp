// Rows are moved or added once, so the CPU's bytes come back: in bf16, those of its f32 result rounded.
#include "kernels/rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Size {
  std::int64_t g, b, t, d, m;
};
// The last is a wave of Llama-1B with fewer layers.
const Size kSizes[] = {{1, 1, 1, 1, 1},    {3, 2, 13, 8, 3}, {1, 3, 129, 37, 13}, {3, 1, 13, 100, 13},
                       {2, 2, 129, 96, 1}, {1, 1, 5, 16, 0}, {12, 1, 20, 768, 8}, {4, 1, 1152, 2048, 128}};

std::vector<std::int32_t> distinct(std::int64_t count, std::int64_t of, std::uint64_t seed) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(of));
  std::iota(rows.begin(), rows.end(), 0);
  std::mt19937_64 generator(seed);
  std::shuffle(rows.begin(), rows.end(), generator);
  rows.resize(static_cast<std::size_t>(count));
  return rows;
}
Tensor integers(const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
}

class GpuRows : public ::testing::TestWithParam<DType> {
 protected:
  // The GPU's result has the bytes of the CPU's in this dtype.
  static bool equal(const Tensor& got, const Tensor& want) { return same_bytes(got, want.to(kCpu, GetParam())); }
  static Tensor input(Shape shape, std::uint64_t seed) { return rounded(normal(shape, seed)); }
};

TEST_P(GpuRows, TakeRows) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.b, " x ", s.t, " x ", s.d, ", take ", s.m));
    std::vector<std::int32_t> begins(static_cast<std::size_t>(s.g * s.b));
    for (std::size_t i = 0; i < begins.size(); ++i) {
      begins[i] = static_cast<std::int32_t>((i * 5 + 3) % static_cast<std::size_t>(s.t - s.m + 1));
    }
    const Tensor first = integers(begins).reshape({s.g, s.b}), x = input({s.g, s.b, s.t, s.d}, 1);
    const Tensor dout = input({s.g, s.b, s.m, s.d}, 2);
    const Tensor want = Tensor::empty(kCpu, dout.shape(), DType::kF32), got = poisoned(dout.shape(), dtype);
    take_rows_forward(kCpu, x, first, want);
    take_rows_forward(gpu(), upload(x, dtype), upload(first), got);
    EXPECT_TRUE(equal(got, want));
    for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
      const Tensor want_dx = x.clone(kCpu);
      take_rows_backward(kCpu, dout, first, want_dx, mode);
      const Tensor dx = mode == GradMode::kOverwrite ? poisoned(x.shape(), dtype) : upload(x, dtype);
      take_rows_backward(gpu(), upload(dout, dtype), upload(first), dx, mode);
      EXPECT_TRUE(equal(dx, want_dx)) << static_cast<int>(mode);
    }
    take_rows_backward(gpu(), upload(dout, dtype), upload(first), {}, GradMode::kSkip);
  }
}

TEST_P(GpuRows, Lists) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    SCOPED_TRACE(cat(s.g, " x ", s.b, " x ", s.t, " x ", s.d, ", list of ", s.m));
    const std::int64_t rows = s.g * s.b * s.t;
    const Tensor x = input({s.g, s.b, s.t, s.d}, 1), values = input({s.m, s.d}, 2);
    const Tensor index = integers(distinct(s.m, rows, 3));
    const Tensor want = Tensor::empty(kCpu, values.shape(), DType::kF32), got = poisoned(values.shape(), dtype);
    gather_rows(kCpu, x, index, want);
    gather_rows(gpu(), upload(x, dtype), upload(index), got);
    EXPECT_TRUE(equal(got, want));
    for (const auto op : {scatter_add_rows, put_rows}) {
      const Tensor want_x = x.clone(kCpu), got_x = upload(x, dtype);
      op(kCpu, values, index, want_x);
      op(gpu(), upload(values, dtype), upload(index), got_x);
      EXPECT_TRUE(equal(got_x, want_x));
    }
  }
}

// Only the kernels see them: they must not leave their tensors, and the next wait says so.
TEST_P(GpuRows, RowsOutOfRangeAreAnError) {
  const DType dtype = GetParam();
  const auto fails = [] { EXPECT_ERROR(gpu().synchronize(), Error, "rows: an index names no row of its tensor"); };
  const Tensor x = upload(input({5, 16}, 1), dtype), values = upload(input({3, 16}, 2), dtype);
  const Tensor index = upload(integers({-1, 5, 1 << 30}));
  const Tensor got = poisoned({3, 16}, dtype), before = x.clone(gpu());
  gather_rows(gpu(), x, index, got);
  fails();
  EXPECT_TRUE(same_bytes(got, Tensor::zeros(kCpu, {3, 16}, dtype)));
  scatter_add_rows(gpu(), values, index, x);
  fails();
  put_rows(gpu(), values, index, x);
  fails();
  EXPECT_TRUE(same_bytes(x, before));

  const Tensor cells = x.reshape({1, 5, 16}), first = upload(integers({-3})), taken = got.reshape({1, 3, 16});
  take_rows_forward(gpu(), cells, first, taken);
  fails();
  EXPECT_TRUE(same_bytes(taken, Tensor::zeros(kCpu, {1, 3, 16}, dtype)));
  take_rows_backward(gpu(), values.reshape({1, 3, 16}), first, cells, GradMode::kAccumulate);
  fails();
  EXPECT_TRUE(same_bytes(x, before));
  take_rows_backward(gpu(), values.reshape({1, 3, 16}), first, cells, GradMode::kOverwrite);
  EXPECT_TRUE(same_bytes(x, Tensor::zeros(kCpu, {5, 16}, dtype)));
}

TEST_P(GpuRows, Scale) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    const Tensor y = input({s.g, s.t, s.d}, 2), got = upload(y, dtype);
    scale(kCpu, 0.7, y);
    scale(gpu(), 0.7, got);
    EXPECT_TRUE(equal(got, y)) << s.d;
  }
}

TEST_P(GpuRows, Add) {
  const DType dtype = GetParam();
  for (const Size& s : kSizes) {
    const Tensor x = input({s.g, s.t, s.d}, 1), y = input({s.g, s.t, s.d}, 2), got = upload(y, dtype);
    add(kCpu, x, y);
    add(gpu(), upload(x, dtype), got);
    EXPECT_TRUE(equal(got, y)) << s.d;
  }
  // A slice that does not start at a multiple of 16 bytes.
  const Tensor x = input({9, 3}, 1), y = input({9, 3}, 2), got = upload(y, dtype);
  add(kCpu, x.slice(1, 9), y.slice(1, 9));
  add(gpu(), upload(x, dtype).slice(1, 9), got.slice(1, 9));
  EXPECT_TRUE(equal(got, y));
  const Tensor none = poisoned({3, 0, 8}, dtype);
  add(gpu(), none, none);
}

INSTANTIATE_TEST_SUITE_P(DTypes, GpuRows, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace wt::kernels
