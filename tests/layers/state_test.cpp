#include "layers/state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Values = std::vector<double>;

// Five layers: a fixed tensor of layers 1 and 3, one of all, rows of layer 2 that grow with the text, rows of layer 4
// in an open segment, and one that is the model's own and whose gradient is not wanted.
std::vector<StateSpec> specs() {
  using Life = StateSpec::Life;
  return {{.name = "some.{l}", .layers = {1, 3}, .shape = {2}, .dtype = DType::kF64},
          {.name = "all.{l}", .layers = {0, 1, 2, 3, 4}, .shape = {1}, .dtype = DType::kF64},
          {.name = "rows.{l}", .layers = {2}, .shape = {3}, .dtype = DType::kF64, .life = Life::kRows},
          {.name = "open.{l}", .layers = {4}, .shape = {2}, .dtype = DType::kF64, .life = Life::kRows, .open = true},
          {.name = "own", .shape = {2}, .dtype = DType::kF64, .gradient = false}};
}

void count_up(const Tensor& tensor, double from) {
  for (std::int64_t i = 0; i < tensor.numel(); ++i) tensor.data<double>()[i] = from + static_cast<double>(i);
}

TEST(State, LaysSpecsOutByLayerAndSample) {
  const State state(specs(), 3, {});
  EXPECT_EQ(state[0].shape(), (Shape{2, 3, 2}));
  EXPECT_EQ(state[1].shape(), (Shape{5, 3, 1}));
  EXPECT_FALSE(state[2].defined());
  EXPECT_FALSE(state[3].defined());
  EXPECT_EQ(state[4].shape(), (Shape{1, 3, 2}));
  EXPECT_EQ(state.bytes(), (12u + 15u + 6u) * 8);
  for (const double value : state[0].to_vector<double>()) EXPECT_EQ(value, 0);
}

TEST(State, SlicesAreTheLayersThatHaveATensor) {
  const State state(specs(), 1, {});
  count_up(state[0], 1);
  const std::vector<Tensor> middle = state.slice(1, 3);
  EXPECT_EQ(middle[0].to_vector<double>(), (Values{1, 2}));
  EXPECT_EQ(middle[0].raw(), state[0].raw());
  EXPECT_EQ(middle[1].shape(), (Shape{2, 1, 1}));
  EXPECT_FALSE(middle[2].defined());
  EXPECT_FALSE(middle[4].defined());  // the model's own belongs to no wave
  const std::vector<Tensor> none = state.slice(4, 5);
  EXPECT_FALSE(none[0].defined());
  EXPECT_TRUE(none[1].defined());
}

TEST(State, ForksCopyWhatASegmentReplacesAndShareRows) {
  State state(specs(), 1, {});
  state.reserve(4);
  const std::vector<Tensor> fork = state.fork(1, 3);
  count_up(state[0], 1);
  count_up(state[2], 5);
  EXPECT_EQ(fork[0].to_vector<double>(), (Values{0, 0}));
  EXPECT_EQ(fork[2].raw(), state[2].raw());
}

TEST(State, OpensWithRoomForTheRowsOfASegment) {
  State closed(specs(), 2, {});
  closed.reserve(4);
  const State open = closed.opened(7);
  EXPECT_EQ(open[3].shape(), (Shape{1, 2, 7, 2}));
  EXPECT_NE(open[0].raw(), closed[0].raw());
  EXPECT_EQ(open[2].raw(), closed[2].raw());
  count_up(open[0], 1);
  EXPECT_EQ(closed[0].to_vector<double>(), Values(8, 0));
  // A closed segment: everything of the sample goes over, but what lived in the segment.
  closed.copy_sample(1, open, 1);
  EXPECT_EQ(closed[0].to_vector<double>(), (Values{0, 0, 3, 4, 0, 0, 7, 8}));
}

TEST(State, GradientsHaveTheShapesOfWhatHasOne) {
  const State state(specs(), 2, {});
  const State gradient = state.gradient();
  EXPECT_EQ(gradient[0].shape(), state[0].shape());
  EXPECT_NE(gradient[0].raw(), state[0].raw());
  EXPECT_FALSE(gradient[4].defined());
  count_up(gradient[0], 1);
  gradient.zero(3, 0);
  EXPECT_EQ(gradient[0].to_vector<double>(), (Values{1, 2, 3, 4, 0, 0, 7, 8}));
  gradient.zero(State::kOwn, 0);  // nothing there
}

TEST(State, ZeroesAndCopiesOneLayerOfOneSample) {
  const State state(specs(), 2, {}), other(specs(), 1, {});
  count_up(state[0], 1);
  count_up(state[1], 1);
  count_up(state[4], 1);
  state.zero(1, 1);
  EXPECT_EQ(state[0].to_vector<double>(), (Values{1, 2, 0, 0, 5, 6, 7, 8}));
  EXPECT_EQ(state[1].to_vector<double>(), (Values{1, 2, 3, 0, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(state[4].to_vector<double>(), (Values{1, 2, 3, 4}));
  state.zero(State::kOwn, 0);
  EXPECT_EQ(state[4].to_vector<double>(), (Values{0, 0, 3, 4}));
  other.copy(3, 0, state, 1);
  EXPECT_EQ(other[0].to_vector<double>(), (Values{0, 0, 7, 8}));
  EXPECT_EQ(other[1].to_vector<double>(), (Values{0, 0, 0, 8, 0}));
  other.copy(State::kOwn, 0, state, 1);
  EXPECT_EQ(other[4].to_vector<double>(), (Values{3, 4}));
}

TEST(State, RowsKeepWhatIsThereWhenTheyGetMoreRoom) {
  State state(specs(), 2, {});
  state.reserve(2);
  EXPECT_EQ(state[2].shape(), (Shape{1, 2, 2, 3}));
  count_up(state[2], 1);
  state.reserve(1);
  EXPECT_EQ(state.reserved(), 2);
  state.reserve(3);
  EXPECT_EQ(state[2].to_vector<double>(), (Values{1, 2, 3, 4, 5, 6, 0, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0, 0}));
  State small(specs(), 1, {});
  EXPECT_ERROR(small.copy_sample(0, state, 0), Error, "3 rows to copy to 0");
  small.reserve(4);
  small.copy_sample(0, state, 1);
  EXPECT_EQ(small[2].to_vector<double>(), (Values{7, 8, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0}));
}

TEST(State, PublishesLayerByLayer) {
  State state(specs(), 2, {});
  state.reserve(4);
  count_up(state[0], 1);
  count_up(state[2], 1);
  std::vector<std::string> names;
  for (const auto& [name, value] : state.published(1, 2)) {
    names.push_back(name);
    if (name == "some.3") {
      EXPECT_EQ(value.to_vector<double>(), (Values{7, 8}));
    }
    if (name == "rows.2") {
      EXPECT_EQ(value.to_vector<double>(), (Values{13, 14, 15, 16, 17, 18}));
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"own", "all.0", "some.1", "all.1", "all.2", "rows.2", "some.3", "all.3",
                                             "all.4"}));
  EXPECT_ERROR(state.published({}, 2), Error, "rows of several samples");
}

TEST(State, RefusesSpecsThatMakeNoSense) {
  EXPECT_ERROR(State({{.name = "a.{l}", .layers = {2, 1}, .shape = {1}}}, 1, {}), Error,
               "a.{l}: layers are out of order");
  EXPECT_ERROR(State({{.name = "a.{l}", .layers = {1}, .shape = {1}, .open = true}}, 1, {}), Error,
               "only rows live in an open segment");
}

}  // namespace
}  // namespace wt
