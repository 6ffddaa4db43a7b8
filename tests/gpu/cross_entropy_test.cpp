#include "kernels/cross_entropy.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Result {
  Tensor loss, lse, correct;
};

Result forward(const Stream& stream, const Tensor& logits, const Tensor& target) {
  const std::int64_t r = logits.dim(0);
  const auto fresh = [&](DType dtype) {
    return stream.device().is_cuda() ? poisoned({r}, dtype) : Tensor::empty(stream, {r}, dtype);
  };
  const Result out{fresh(DType::kF32), fresh(DType::kF32), fresh(DType::kU8)};
  cross_entropy_forward(stream, logits, target, out.loss, out.lse, out.correct);
  return out;
}

// Half of them the largest logit of their row.
Tensor targets(const Tensor& logits) {
  const std::int64_t r = logits.dim(0), v = logits.dim(1);
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < r; ++i) {
    const float* row = logits.data<float>() + i * v;
    out.push_back(
        static_cast<std::int32_t>(i % 2 == 0 ? std::max_element(row, row + v) - row : (i * 7919 + v - 1) % v));
  }
  return Tensor::from<std::int32_t>({r}, out);
}

// On all devices and dtypes. Rows of odd width, a start off every alignment, more than one turn per thread.
TEST(GpuCrossEntropy, AgreesWithTheCpu) {
  const Shape shapes[] = {{1, 1}, {1, 2}, {13, 41}, {129, 1000}, {13, 8192}, {13, 50257}, {1, 128256}, {129, 128256}};
  for (const Shape& shape : shapes) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const std::int64_t skip : {0, 1}) {
        SCOPED_TRACE(cat(shape, " ", name_of(dtype), " from row ", skip));
        const std::int64_t r = shape[0], v = shape[1];
        Tensor all = normal({r + skip, v}, 1, 3);
        if (dtype == DType::kBF16) all = rounded(all);
        const Tensor logits = all.slice(skip, r + skip), target = targets(logits), dloss = normal({r}, 2);
        const Result want = forward(kCpu, logits, target);
        const Tensor x = upload(all, dtype).slice(skip, r + skip), ids = upload(target);
        const Result got = forward(gpu(), x, ids), again = forward(gpu(), x, ids);
        // Sums are f32 in either dtype.
        EXPECT_LT(relative_error(got.loss, want.loss), kGpuF32);
        EXPECT_LT(relative_error(got.lse, want.lse), kGpuF32);
        EXPECT_TRUE(same_bytes(got.correct, want.correct));
        EXPECT_TRUE(same_bytes(got.loss, again.loss));

        const Tensor dwant = Tensor::empty(kCpu, shape, DType::kF32);
        cross_entropy_backward(kCpu, dloss, logits, target, want.lse, dwant);
        for (const DType grad_dtype : {DType::kF32, DType::kBF16}) {
          const Tensor dgot = poisoned({r + skip, v}, grad_dtype).slice(skip, r + skip);
          cross_entropy_backward(gpu(), upload(dloss), x, ids, got.lse, dgot);
          EXPECT_LT(relative_error(dgot, dwant), grad_dtype == DType::kF32 ? kGpuF32 : kGpuBF16);
          // The same over memory that is aligned otherwise.
          const Tensor aligned = poisoned(shape, grad_dtype);
          cross_entropy_backward(gpu(), upload(dloss), x, ids, got.lse, aligned);
          EXPECT_TRUE(same_bytes(aligned, dgot));
          if (grad_dtype != dtype) continue;
          cross_entropy_backward(gpu(), upload(dloss), x, ids, got.lse, x);
          EXPECT_TRUE(same_bytes(x, dgot));
          x.copy_from(gpu(), upload(all, dtype).slice(skip, r + skip));
        }
      }
    }
  }
}

TEST(GpuCrossEntropy, TheFirstOfEqualLogitsIsRight) {
  // Four values only: every row has many ties.
  for (const std::int64_t v : {5, 64, 3001, 20000}) {
    const std::int64_t r = 64;
    const Tensor logits = normal({r, v}, 3);
    for (std::int64_t i = 0; i < r * v; ++i) {
      logits.data<float>()[i] = std::floor(std::min(std::abs(logits.data<float>()[i]), 3.5f)) - 2;
    }
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < r; ++i) {
      // The largest logit's first place, its last place, or any place.
      const float* row = logits.data<float>() + i * v;
      const float largest = *std::max_element(row, row + v);
      std::int64_t at = std::find(row, row + v, largest) - row;
      if (i % 3 == 1)
        at = v - 1 -
             (std::find(std::reverse_iterator(row + v), std::reverse_iterator(row), largest) -
              std::reverse_iterator(row + v));
      if (i % 3 == 2) at = i * 31 % v;
      ids.push_back(static_cast<std::int32_t>(at));
    }
    const Tensor target = Tensor::from<std::int32_t>({r}, ids);
    const Result want = forward(kCpu, logits, target);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      EXPECT_TRUE(same_bytes(forward(gpu(), upload(logits, dtype), upload(target)).correct, want.correct)) << v;
    }
  }
}

TEST(GpuCrossEntropy, LogitsFarApart) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor logits =
      Tensor::from<float>({3, 4}, {-inf, 2, -inf, 1, 1e4f, -1e4f, 0, 9999, -1e30f, -1e30f, -1e30f, -inf});
  const Tensor target = Tensor::from<std::int32_t>({3}, {1, 3, 0}), dloss = normal({3}, 2);
  const Result want = forward(kCpu, logits, target), got = forward(gpu(), upload(logits), upload(target));
  EXPECT_LT(relative_error(got.lse, want.lse), kGpuF32);
  EXPECT_TRUE(same_bytes(got.correct, want.correct));
  const Tensor dwant = Tensor::empty(kCpu, {3, 4}, DType::kF32), dgot = poisoned({3, 4}, DType::kF32);
  cross_entropy_backward(kCpu, dloss, logits, target, want.lse, dwant);
  cross_entropy_backward(gpu(), upload(dloss), upload(logits), upload(target), got.lse, dgot);
  EXPECT_LT(relative_error(dgot, dwant), kGpuF32);
}

TEST(GpuCrossEntropy, NotANumberStaysNotANumber) {
  const Tensor logits = normal({1, 1000}, 1);
  logits.data<float>()[777] = std::numeric_limits<float>::quiet_NaN();
  const Result got = forward(gpu(), upload(logits), Tensor::from<std::int32_t>(gpu(), {1}, {3}));
  EXPECT_TRUE(std::isnan(got.loss.to_cpu(gpu()).data<float>()[0]));
}

TEST(GpuCrossEntropy, TargetsOutOfRangeAreAnError) {
  const Tensor logits = upload(normal({2, 9}, 1)), target = Tensor::from<std::int32_t>(gpu(), {2}, {9, -1});
  const Result got = forward(gpu(), logits, target);
  EXPECT_ERROR(gpu().synchronize(), Error, "cross entropy: a target is no id of the vocabulary");
  const Tensor grad = poisoned({2, 9}, DType::kF32);
  cross_entropy_backward(gpu(), upload(normal({2}, 2)), logits, target, got.lse, grad);
  EXPECT_EQ(relative_error(got.loss, Tensor::zeros(kCpu, {2}, DType::kF32)), 0);
  EXPECT_EQ(got.correct.to_cpu(gpu()).to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{0, 0}));
  EXPECT_EQ(relative_error(grad, Tensor::zeros(kCpu, {2, 9}, DType::kF32)), 0);
}

TEST(GpuCrossEntropy, NoRows) {
  const Tensor logits = Tensor::empty(gpu(), {0, 9}, DType::kF32), ids = Tensor::empty(gpu(), {0}, DType::kI32);
  const Result got = forward(gpu(), logits, ids);
  cross_entropy_backward(gpu(), got.loss, logits, ids, got.lse, logits);
}

}  // namespace
}  // namespace wt::kernels
