// Plans and segments: pure functions, checked on every small case.
#include "schedulers/plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "schedulers/segments.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

const std::vector<std::vector<int>> kRounds{{1}, {2}, {5}, {12}, {1, 1}, {3, 1, 2}, {1, 4}, {2, 2, 2, 2}};

TEST(Plan, AllSchedulesAreValidForManyShapes) {
  for (const int layers : {1, 2, 3, 7}) {
    for (const std::vector<int>& rounds : kRounds) {
      const int items = std::accumulate(rounds.begin(), rounds.end(), 0);
      for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
        const Plan plan = make_plan(schedule, layers, rounds);
        EXPECT_NO_THROW(check_plan(plan));
        EXPECT_EQ(plan.items, items);
        EXPECT_EQ(plan.cells(), layers * items);
        std::int64_t cells = 0;
        for (const Wave& wave : plan.waves) cells += wave.size();
        EXPECT_EQ(cells, plan.cells());
      }
    }
  }
}

TEST(Plan, NumberOfWaves) {
  for (const int layers : {1, 2, 3, 7}) {
    for (const std::vector<int>& rounds : kRounds) {
      const int items = std::accumulate(rounds.begin(), rounds.end(), 0), n = static_cast<int>(rounds.size());
      EXPECT_EQ(sequential_plan(layers, rounds).waves.size(), static_cast<std::size_t>(layers * items));
      // L + S - 1 for each round.
      EXPECT_EQ(diagonal_plan(layers, rounds).waves.size(), static_cast<std::size_t>(items + n * (layers - 1)));
      EXPECT_EQ(streaming_plan(layers, rounds).waves.size(), static_cast<std::size_t>(items + layers - 1));
    }
  }
}

TEST(Plan, StreamingWavesAreFullButForTheEnds) {
  const Plan plan = streaming_plan(4, {3, 1, 5});
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    const bool end = w < 3 || w >= plan.waves.size() - 3;
    EXPECT_EQ(plan.waves[w].size() == 4, !end) << w;
  }
  EXPECT_DOUBLE_EQ(plan.fill(), 36.0 / (12 * 4));
  EXPECT_DOUBLE_EQ(diagonal_plan(4, {3, 1, 5}).fill(), 36.0 / (18 * 4));
  EXPECT_DOUBLE_EQ(sequential_plan(4, {3}).fill(), 0.25);
  EXPECT_EQ(Plan{}.fill(), 0);
}

TEST(Plan, DiagonalCellsLieOnAntiDiagonals) {
  const Plan plan = diagonal_plan(3, {5});
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    for (int layer = plan.waves[w].lo; layer < plan.waves[w].hi; ++layer) {
      EXPECT_EQ(plan.waves[w].item_of(layer) + layer, static_cast<int>(w));
    }
  }
}

TEST(Plan, NoSegmentsGiveNoWaves) {
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    const Plan plan = make_plan(schedule, 3, {});
    EXPECT_TRUE(plan.waves.empty());
    EXPECT_NO_THROW(check_plan(plan));
  }
}

TEST(Plan, ImpossibleShapesAreErrors) {
  EXPECT_ERROR(diagonal_plan(0, {1}), Error, "at least one layer");
  EXPECT_ERROR(streaming_plan(2, {1, 0}), Error, "a round of a plan has 0 segments");
  EXPECT_ERROR(make_plan(static_cast<Schedule>(9), 2, {1}), Error, "unknown schedule");
  EXPECT_EQ(name_of(static_cast<Schedule>(9)), "?");
}

TEST(Plan, ScheduleNames) {
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    EXPECT_EQ(schedule_from_name(name_of(schedule)), schedule);
  }
  EXPECT_ERROR(schedule_from_name("diagnal"), UsageError,
               "unknown schedule 'diagnal': expected sequential, diagonal or streaming");
}

// The diagonal plan of 3 layers and 3 segments:
//   layer 2  . . 0 1 2
//   layer 1  . 0 1 2 .
//   layer 0  0 1 2 . .
Plan broken(const std::function<void(Plan&)>& change) {
  Plan plan = diagonal_plan(3, {3});
  change(plan);
  return plan;
}

TEST(CheckPlan, CatchesEveryMistake) {
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves.pop_back(); })), Error, "layer 2 runs 2 of 3 items");
  EXPECT_ERROR(check_plan(broken([](Plan& p) {
                 p.waves[1] = {0, 1, {1}};
               })),
               Error, "wave 2, layer 1 works on item 1, expected 0 (its state is not there yet)");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[1] = {1, 2, {0}}; })), Error, "wave 2, layer 0 works on item 2");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[1].items[0] = 0; })), Error,
               "wave 1, layer 0 works on item 0, expected 1 (a cell runs twice)");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves.insert(p.waves.begin() + 2, p.waves[1]); })), Error,
               "runs twice");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { std::swap(p.waves[0], p.waves[1]); })), Error, "wave 0, layer 0");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[2].items.pop_back(); })), Error,
               "wave 2 has 2 items for 3 layers");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[2].items[0] = 3; })), Error, "wave 2, layer 0: item 3 of 3");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[2].items[0] = -1; })), Error, "item -1 of 3");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[2].hi = 4; })), Error, "plan: wave 2 has layers [0,4) of 3");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.waves[2] = {2, 2, {}}; })), Error, "wave 2 has layers [2,2)");
  EXPECT_ERROR(check_plan(broken([](Plan& p) { p.items = 4; })), Error, "layer 0 runs 3 of 4 items");
}

TEST(CheckPlan, InputMustComeFromTheWaveBefore) {
  // Every dependency is met, but the executor keeps hidden states for one wave only.
  Plan plan;
  plan.layers = 2;
  plan.items = 2;
  plan.waves = {{0, 1, {0}}, {0, 1, {1}}, {1, 2, {0}}, {1, 2, {1}}};
  EXPECT_ERROR(check_plan(plan), Error, "wave 2, layer 1: the wave before did not write the input of item 0");
  // Two layers of one segment at once: the upper one's input is not there yet.
  plan.waves = {{0, 2, {0, 0}}, {0, 2, {1, 1}}};
  EXPECT_ERROR(check_plan(plan), Error, "wave 0, layer 1: the wave before did not write the input of item 0");
}

TEST(DrawPlan, Picture) {
  EXPECT_EQ(draw_plan(diagonal_plan(3, {4})),
            "      wave  0 1 2 3 4 5\n"
            "   layer 2  . . 0 1 2 3\n"
            "   layer 1  . 0 1 2 3 .\n"
            "   layer 0  0 1 2 3 . .\n"
            "      size  1 2 3 3 2 1\n");
}

TEST(DrawPlan, LongPlansAreCutInTheMiddle) {
  const std::string text = draw_plan(streaming_plan(2, {200}), 60);
  EXPECT_NE(text.find(" ~"), std::string::npos);
  EXPECT_NE(text.find("200"), std::string::npos);  // the last wave
  std::size_t lines = 0, begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    EXPECT_LE(end - begin, 64u);
    EXPECT_GE(end - begin, 40u);
    begin = end + 1;
    ++lines;
  }
  EXPECT_EQ(lines, 4u);
}

using Lengths = std::vector<std::int64_t>;

Lengths cut(std::int64_t n, std::int64_t size, SegmentAlignment alignment) {
  Lengths lengths;
  std::int64_t expected_begin = 0;
  for (const Segment& segment : cut_segments(n, size, alignment)) {
    EXPECT_EQ(segment.begin, expected_begin);
    expected_begin += segment.length;
    lengths.push_back(segment.length);
  }
  EXPECT_EQ(expected_begin, n);
  return lengths;
}

TEST(Segments, Alignments) {
  EXPECT_EQ(cut(11, 4, SegmentAlignment::kLeft), (Lengths{4, 4, 3}));
  EXPECT_EQ(cut(11, 4, SegmentAlignment::kRight), (Lengths{3, 4, 4}));
  EXPECT_EQ(cut(11, 4, SegmentAlignment::kCenter), (Lengths{4, 4, 3}));
  EXPECT_EQ(cut(9, 4, SegmentAlignment::kLeft), (Lengths{4, 4, 1}));
  EXPECT_EQ(cut(9, 4, SegmentAlignment::kRight), (Lengths{1, 4, 4}));
  EXPECT_EQ(cut(9, 4, SegmentAlignment::kCenter), (Lengths{3, 3, 3}));
  for (const SegmentAlignment alignment :
       {SegmentAlignment::kLeft, SegmentAlignment::kRight, SegmentAlignment::kCenter}) {
    EXPECT_EQ(cut(8, 4, alignment), (Lengths{4, 4}));
    EXPECT_EQ(cut(3, 4, alignment), (Lengths{3}));
    EXPECT_EQ(cut(0, 4, alignment), Lengths{});
    for (std::int64_t n = 0; n < 30; ++n) {
      for (const std::int64_t length : cut(n, 7, alignment)) {
        EXPECT_GE(length, 1);
        EXPECT_LE(length, 7);
      }
      EXPECT_EQ(cut(n, 7, alignment).size(), static_cast<std::size_t>((n + 6) / 7));
    }
  }
  EXPECT_ERROR(cut_segments(3, 0, SegmentAlignment::kLeft), Error, "cannot cut 3 tokens into segments of 0");
  EXPECT_ERROR(cut_segments(-1, 4, SegmentAlignment::kLeft), Error, "cannot cut -1 tokens");
}

TEST(Segments, Grid) {
  // Two samples side by side, five sequences: rounds of 3, 2 and 1 steps.
  const SegmentGrid grid = make_grid({9, 4, 0, 8, 2}, 2, 4, SegmentAlignment::kLeft);
  EXPECT_EQ(grid.segments_by_round, (std::vector<int>{3, 2, 1}));
  EXPECT_EQ(grid.items(), 6);
  EXPECT_EQ(grid.longest(), 4);
  EXPECT_EQ(grid.at(0, 0).sequence, 0);
  EXPECT_TRUE(grid.at(0, 0).first());
  EXPECT_EQ(grid.at(2, 0).length, 1);
  EXPECT_EQ(grid.at(2, 0).begin, 8);
  EXPECT_EQ(grid.at(2, 0).index, 2);
  EXPECT_FALSE(grid.at(2, 0).first());
  EXPECT_EQ(grid.at(0, 1).sequence, 1);
  EXPECT_FALSE(grid.at(1, 1).active());
  EXPECT_FALSE(grid.at(3, 0).active());  // a sequence of no tokens
  EXPECT_EQ(grid.at(4, 1).sequence, 3);
  EXPECT_EQ(grid.at(5, 0).sequence, 4);
  EXPECT_FALSE(grid.at(5, 1).active());  // the last round is not full
}

TEST(Segments, GridOfNothing) {
  const SegmentGrid grid = make_grid({0, 0}, 2, 4, SegmentAlignment::kLeft);
  EXPECT_EQ(grid.items(), 0);
  EXPECT_EQ(grid.longest(), 0);
  EXPECT_TRUE(grid.segments_by_round.empty());
  EXPECT_ERROR(make_grid({1}, 0, 4, SegmentAlignment::kLeft), Error, "at least one sample");
  EXPECT_EQ(SegmentGrid{}.items(), 0);
}

}  // namespace
}  // namespace wt
