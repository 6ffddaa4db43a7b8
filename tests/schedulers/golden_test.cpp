// The golden numbers of the published code in f64 and f32.
#include "tests/support/golden_checks.h"

namespace wt {
namespace {

class Golden : public testing::TestWithParam<GoldenCase> {};

TEST_P(Golden, LogitsLossMemoryAndGradients) {
  expect_golden_values(GetParam(), Stream{});
}

TEST_P(Golden, GreedyContinuation) {
  expect_golden_continuation(GetParam(), Stream{});
}

INSTANTIATE_TEST_SUITE_P(Published, Golden, testing::ValuesIn(golden_cases({DType::kF64, DType::kF32})),
                         golden_case_name);

}  // namespace
}  // namespace wt
