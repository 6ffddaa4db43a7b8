// The golden numbers of the published Mamba-2 and Bamba in f64 and f32, whole and cut into segments of any size.
#include "tests/support/golden_text.h"

namespace wt {
namespace {

class GoldenText : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenText, LogitsLossStateAndGradients) {
  expect_golden_text(GetParam(), Stream{});
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenText, testing::ValuesIn(text_cases({DType::kF64, DType::kF32})),
                         text_case_name);

class GoldenTextCuts : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextCuts, StatesAtCuts) {
  expect_golden_cuts(GetParam(), Stream{});
}
TEST_P(GoldenTextCuts, CutGradients) {
  expect_golden_cut_gradients(GetParam(), Stream{});
}
std::vector<TextCase> cut_cases() {
  std::vector<TextCase> cases;
  for (const TextCase& c : text_cases({DType::kF64, DType::kF32})) {
    if (c.length != 37 || c.segment != 1) continue;
    cases.push_back(c);
    cases.back().segment = 10;
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextCuts, testing::ValuesIn(cut_cases()), text_case_name);

class GoldenTextStates : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextStates, FromAGivenState) {
  expect_golden_from_state(GetParam(), Stream{});
}
TEST_P(GoldenTextStates, PackedSequences) {
  expect_golden_packed(GetParam(), Stream{});
}
std::vector<TextCase> state_cases() {
  std::vector<TextCase> cases;
  for (const TextCase& c : text_cases({DType::kF64, DType::kF32})) {
    if (c.length == 16) cases.push_back(c);
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextStates, testing::ValuesIn(state_cases()), text_case_name);

class GoldenTextContinuation : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextContinuation, Greedy) {
  expect_golden_text_continuation(GetParam(), Stream{});
}
std::vector<TextCase> continuation_cases() {
  std::vector<TextCase> cases;
  for (const TextCase& c : text_cases({DType::kF64, DType::kF32})) {
    const bool has_one = c.length == 37 || (c.length == 16 && c.file == "mamba2_tiny");
    if (has_one && c.activations == Activations::kKeep) cases.push_back(c);
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextContinuation, testing::ValuesIn(continuation_cases()), text_case_name);

}  // namespace
}  // namespace wt
