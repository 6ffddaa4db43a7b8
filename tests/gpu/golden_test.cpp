// The golden numbers of the published code on the GPU in f32, at the CPU's tolerances.
#include "tests/support/golden_checks.h"
#include "tests/support/gpu.h"

namespace wt {
namespace {

class GpuGolden : public testing::TestWithParam<GoldenCase> {};

TEST_P(GpuGolden, LogitsLossMemoryAndGradients) {
  expect_golden_values(GetParam(), gpu());
}

TEST_P(GpuGolden, GreedyContinuation) {
  expect_golden_continuation(GetParam(), gpu());
}

INSTANTIATE_TEST_SUITE_P(Published, GpuGolden, testing::ValuesIn(golden_cases({DType::kF32})), golden_case_name);

}  // namespace
}  // namespace wt
