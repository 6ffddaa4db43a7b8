// The CUDA runtime behind tensors and launches: uploads, errors that were caught, limits of 32 bits.
#include <cstring>
#include <limits>
#include <vector>

#include "core/cuda.h"
#include "kernels/dropout.h"
#include "kernels/gemm_cuda.h"
#include "kernels/rms_norm.h"
#include "kernels/rows.h"
#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"

namespace wt {
namespace {

// Host memory is free again when the copy returns, also where the GPU is far behind.
TEST(GpuRuntime, UploadsHaveTheirBytesWhenTheyReturn) {
  const Tensor busy = Tensor::zeros(gpu(), {256 << 20}, DType::kF32), other = busy.clone(gpu());
  for (int i = 0; i < 100; ++i) other.copy_from(gpu(), busy);
  const std::vector<std::int64_t> sizes{1, 7, 1000, 40'000, 300'000, 3'000'000, 20'000'000};
  std::vector<Tensor> there;
  const Tensor host = Tensor::empty(Stream{}, {sizes.back()}, DType::kI32);
  for (std::int32_t i = 0; i < 3000; ++i) {
    // Large ones seldom: they are waited for.
    const std::int64_t n =
        sizes[i % 500 == 499 ? static_cast<std::size_t>(5 + i / 500 % 2) : static_cast<std::size_t>(i % 5)];
    for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) host.data<std::int32_t>()[at] = i;
    there.push_back(Tensor::empty(gpu(), {n}, DType::kI32));
    there.back().copy_from(gpu(), host.slice(0, n));
    for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) host.data<std::int32_t>()[at] = -1;
  }
  for (std::int32_t i = 0; i < 3000; ++i) {
    const Tensor& t = there[static_cast<std::size_t>(i)];
    const std::int64_t n = t.dim(0);
    for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
      ASSERT_EQ(t.slice(at, at + 1).to_cpu(gpu()).data<std::int32_t>()[0], i) << n << " at " << at;
    }
  }
}

TEST(GpuRuntime, ACaughtFailureIsNotTheNextKernels) {
  const Tensor x = upload(normal({4, 8}, 1)), y = upload(normal({4, 8}, 2));
  EXPECT_ERROR(cuda::device_memory(63), Error, "cudaSetDevice");
  EXPECT_NO_THROW(kernels::add(gpu(), x, y));
  // A launch that is refused: 2^31 - 1 blocks of a second extent.
  const Tensor w = upload(normal({1, 8}, 1));
  EXPECT_ERROR(
      kernels::scatter_add_rows(gpu(), upload(normal({1, 4}, 1)), Tensor::from<std::int32_t>(gpu(), {2}, {0, 1}), x),
      Error, "scatter_add_rows");
  EXPECT_NO_THROW(kernels::add(gpu(), x, y));
  gpu().synchronize();
}

TEST(GpuRuntime, ExtentsAbove32BitsAreRefusedInProducts) {
  using kernels::cuda::Matrix;
  const Tensor t = Tensor::zeros(gpu(), {16}, DType::kF32);
  const Matrix m{t.raw(), DType::kF32, 1, 1, false};
  const std::int64_t many = (std::int64_t{1} << 32) + 1;  // one, in 32 bits
  for (int i = 0; i < 4; ++i) {
    const auto extent = [&](int at) { return at == i ? many : 1; };
    EXPECT_ERROR(kernels::cuda::gemm(gpu(), extent(0), extent(1), extent(2), extent(3), 1, m, m, 0, m, m), Error,
                 "an extent is above 2147483647");
  }
}

TEST(GpuRuntime, CellsWhoseRandomNumbersWouldOverlapAreRefused) {
  for (const Stream& stream : {gpu(), Stream{}}) {
    const DType dtype = stream.device().is_cuda() ? DType::kBF16 : DType::kF32;
    const Tensor x = Tensor::empty(stream, {kernels::kMaxDropoutElements + 4}, dtype);
    EXPECT_ERROR(kernels::dropout(stream, x, Tensor::from<std::int64_t>(stream, {1}, {0}), 0.5, {}, x), Error,
                 "dropout: 1073741828 elements in a cell, at most 1073741824");
  }
}

}  // namespace
}  // namespace wt
