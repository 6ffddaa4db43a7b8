// The golden numbers of the published Mamba-2 and Bamba on the GPU in f32, at the CPU's tolerances.
#include "tests/support/golden_text.h"

#include "tests/support/gpu.h"

namespace wt {
namespace {

const std::vector<Schedule> kBoth{Schedule::kSequential, Schedule::kDiagonal};

class GpuGoldenText : public testing::TestWithParam<TextCase> {};
TEST_P(GpuGoldenText, LogitsLossStateAndGradients) {
  each_way(GetParam(), kBoth, [](const TextCase& c) { expect_golden_text(c, gpu()); });
}
INSTANTIATE_TEST_SUITE_P(Published, GpuGoldenText, testing::ValuesIn(text_cases({DType::kF32})), text_case_name);

class GpuGoldenTextStates : public testing::TestWithParam<TextCase> {};
TEST_P(GpuGoldenTextStates, GivenAndPacked) {
  each_way(GetParam(), kBoth, [](const TextCase& c) {
    expect_golden_from_state(c, gpu());
    expect_golden_packed(c, gpu());
  });
}
TEST_P(GpuGoldenTextStates, CutGradientsAndContinuations) {
  TextCase given = GetParam();
  given.length = 37;
  each_way(given, kBoth, [](const TextCase& c) { expect_golden_text_continuation(c, gpu()); });
  given.segment = 10;
  each_way(given, kBoth, [](const TextCase& c) { expect_golden_cut_gradients(c, gpu()); });
}
std::vector<TextCase> state_cases() {
  std::vector<TextCase> cases = text_cases({DType::kF32});
  std::erase_if(cases, [](const TextCase& c) { return c.length != 16 || (c.segment != 7 && c.segment != 37); });
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GpuGoldenTextStates, testing::ValuesIn(state_cases()), text_case_name);

}  // namespace
}  // namespace wt
