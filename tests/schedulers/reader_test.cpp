// Which waves of a plan repeat, and that reading without a tape agrees with reading with one.
#include "schedulers/reader.h"

#include <gtest/gtest.h>

namespace wt {
namespace {

struct Prepared {
  SegmentGrid grid;
  Plan plan;
  std::vector<Chosen> chosen;
};

Prepared prepare(Schedule schedule, int layers, const std::vector<std::int64_t>& lengths, int batch,
                 const std::vector<TokenPlace>& places = {}) {
  Prepared s;
  s.grid = make_grid(lengths, batch, 10, SegmentAlignment::kLeft);
  s.plan = make_plan(schedule, layers, s.grid.segments_by_round);
  s.chosen = sort_places(s.grid, places, 12);
  return s;
}

std::vector<Repeat> repeats_of(const Prepared& s) {
  return find_repeats(s.plan, s.grid, s.chosen);
}

TEST(Repeats, FullDiagonalWavesBehindTheFirstSegment) {
  // 20 segments, 3 layers: 22 waves. Waves 0 to 2 hold segment 0; the last two are not full.
  EXPECT_EQ(repeats_of(prepare(Schedule::kDiagonal, 3, {200}, 1)), (std::vector<Repeat>{{3, 20, 2}}));
  // A last segment that is not full is at work from its first layer on.
  EXPECT_EQ(repeats_of(prepare(Schedule::kDiagonal, 3, {195}, 1)), (std::vector<Repeat>{{3, 19, 2}}));
  // Too short to be worth it.
  EXPECT_TRUE(repeats_of(prepare(Schedule::kDiagonal, 3, {100}, 1)).empty());
}

TEST(Repeats, SequentialWavesRepeatByTheSegment) {
  EXPECT_EQ(repeats_of(prepare(Schedule::kSequential, 4, {100}, 1)), (std::vector<Repeat>{{4, 40, 4}}));
  // An odd number of layers: two segments, so that the buffers are the same again.
  EXPECT_EQ(repeats_of(prepare(Schedule::kSequential, 3, {200}, 1)), (std::vector<Repeat>{{3, 60, 6}}));
}

TEST(Repeats, WantedRowsAndIdleSamplesEndThem) {
  // The row wanted from segment 10 leaves the top layer in wave 12.
  EXPECT_EQ(repeats_of(prepare(Schedule::kDiagonal, 3, {300}, 1, {{0, 105}})),
            (std::vector<Repeat>{{3, 12, 2}, {13, 30, 2}}));
  // The second sample has no segment from the tenth on.
  EXPECT_EQ(repeats_of(prepare(Schedule::kDiagonal, 2, {200, 120}, 2)), (std::vector<Repeat>{{2, 12, 2}}));
}

TEST(Repeats, EveryRepeatDoesTheWorkOfThePeriodBefore) {
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    for (const int layers : {1, 2, 3, 5}) {
      const Prepared s = prepare(schedule, layers, {400, 333, 250, 77}, 2, {{0, 200}, {2, 249}});
      std::size_t last = 0;
      for (const Repeat& r : repeats_of(s)) {
        EXPECT_EQ(r.period % 2, 0u);
        EXPECT_GE(r.begin, last);
        EXPECT_GE(r.end - r.begin, 4 * r.period);
        EXPECT_LE(r.end, s.plan.waves.size());
        for (std::size_t w = r.begin; w < r.end; ++w) {
          const Wave& wave = s.plan.waves[w];
          if (w >= r.begin + r.period) {
            EXPECT_EQ(wave.lo, s.plan.waves[w - r.period].lo);
            EXPECT_EQ(wave.hi, s.plan.waves[w - r.period].hi);
          }
          for (const std::int32_t item : wave.items) {
            for (int b = 0; b < s.grid.batch; ++b) {
              EXPECT_EQ(s.grid.at(item, b).length, 10);
              EXPECT_FALSE(s.grid.at(item, b).first());
            }
          }
        }
        last = r.end;
      }
    }
  }
}

}  // namespace
}  // namespace wt
