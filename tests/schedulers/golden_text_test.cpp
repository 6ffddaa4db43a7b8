// The golden numbers of the published Mamba-2 and Bamba in f64 and f32, whole and cut into segments of any size.
#include "tests/support/golden_text.h"

namespace wt {
namespace {

const std::vector<Schedule> kAll{Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming};

// Those of one length.
std::vector<TextCase> cases_of(int length) {
  std::vector<TextCase> cases = text_cases({DType::kF64, DType::kF32});
  std::erase_if(cases, [&](const TextCase& c) { return c.length != length; });
  return cases;
}

class GoldenText : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenText, LogitsLossStateAndGradients) {
  each_way(GetParam(), kAll, [](const TextCase& c) { expect_golden_text(c, Stream{}); });
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenText, testing::ValuesIn(text_cases({DType::kF64, DType::kF32})),
                         text_case_name);

class GoldenTextCuts : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextCuts, StatesAndGradients) {
  each_way(GetParam(), kAll, [](const TextCase& c) {
    expect_golden_cuts(c, Stream{});
    expect_golden_cut_gradients(c, Stream{});
  });
}
std::vector<TextCase> cut_cases() {
  std::vector<TextCase> cases = cases_of(37);
  std::erase_if(cases, [](const TextCase& c) { return c.segment != 1; });
  for (TextCase& c : cases) c.segment = 10;
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextCuts, testing::ValuesIn(cut_cases()), text_case_name);

class GoldenTextStates : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextStates, GivenAndPacked) {
  each_way(GetParam(), kAll, [](const TextCase& c) {
    expect_golden_from_state(c, Stream{});
    expect_golden_packed(c, Stream{});
  });
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextStates, testing::ValuesIn(cases_of(16)), text_case_name);

class GoldenTextContinuation : public testing::TestWithParam<TextCase> {};
TEST_P(GoldenTextContinuation, Greedy) {
  TextCase c = GetParam();
  for (const Schedule schedule : kAll) {
    c.schedule = schedule;
    expect_golden_text_continuation(c, Stream{});
  }
}
std::vector<TextCase> continuation_cases() {
  std::vector<TextCase> cases = cases_of(37);
  for (const TextCase& c : cases_of(16)) {
    if (c.file == "mamba2_tiny") cases.push_back(c);
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Published, GoldenTextContinuation, testing::ValuesIn(continuation_cases()), text_case_name);

}  // namespace
}  // namespace wt
