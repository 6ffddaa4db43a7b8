// The golden numbers of the published Mamba-2 and Bamba on the GPU in f32, at the CPU's tolerances.
#include "tests/support/golden_text.h"

#include "tests/support/gpu.h"

namespace wt {
namespace {

std::vector<TextCase> cases() {
  std::vector<TextCase> some;
  for (const TextCase& c : text_cases({DType::kF32})) {
    if (c.schedule != Schedule::kStreaming) some.push_back(c);
  }
  return some;
}

class GpuGoldenText : public testing::TestWithParam<TextCase> {};
TEST_P(GpuGoldenText, LogitsLossStateAndGradients) {
  expect_golden_text(GetParam(), gpu());
}
INSTANTIATE_TEST_SUITE_P(Published, GpuGoldenText, testing::ValuesIn(cases()), text_case_name);

class GpuGoldenTextStates : public testing::TestWithParam<TextCase> {};
TEST_P(GpuGoldenTextStates, CutGradients) {
  TextCase c = GetParam();
  c.length = 37;
  c.segment = 10;
  expect_golden_cut_gradients(c, gpu());
}
TEST_P(GpuGoldenTextStates, FromAGivenState) {
  expect_golden_from_state(GetParam(), gpu());
}
TEST_P(GpuGoldenTextStates, PackedSequences) {
  expect_golden_packed(GetParam(), gpu());
}
TEST_P(GpuGoldenTextStates, GreedyContinuation) {
  TextCase c = GetParam();
  c.length = 37;
  expect_golden_text_continuation(c, gpu());
}
std::vector<TextCase> state_cases() {
  std::vector<TextCase> some;
  for (const TextCase& c : cases()) {
    if (c.length == 16 && (c.segment == 7 || c.segment == 37)) some.push_back(c);
  }
  return some;
}
INSTANTIATE_TEST_SUITE_P(Published, GpuGoldenTextStates, testing::ValuesIn(state_cases()), text_case_name);

}  // namespace
}  // namespace wt
