// Plans: which cells (layer, segment) run together, and in what order. A scheduler is a pure function from the number
// of layers and the segments of each round of sequences to a plan; the executor runs any valid one.
//
// Cell (l, i) needs the output of (l-1, i) and the state after (l, i-1). Both lie on the anti-diagonal before, so all
// cells with l + i = w can run at once (Sivtsov et al., "Diagonal batching", arXiv 2506.05229).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/wave.h"

namespace wt {

enum class Schedule : std::uint8_t {
  kSequential,  // one cell at a time, segment by segment: the oracle
  kDiagonal,    // anti-diagonals of one round at a time: L + S - 1 waves
  kStreaming,   // anti-diagonals of all rounds back to back: only the first and last L - 1 waves are not full
};
std::string_view name_of(Schedule schedule);
// Throws UsageError naming the schedules there are.
Schedule schedule_from_name(std::string_view name);

struct Plan {
  int layers = 0;
  int items = 0;
  std::vector<Wave> waves;

  std::int64_t cells() const { return std::int64_t{layers} * items; }
  // Cells over what the same number of full waves would hold.
  double fill() const;
};

Plan sequential_plan(int layers, const std::vector<int>& segments_by_round);
Plan diagonal_plan(int layers, const std::vector<int>& segments_by_round);
Plan streaming_plan(int layers, const std::vector<int>& segments_by_round);
Plan make_plan(Schedule schedule, int layers, const std::vector<int>& segments_by_round);

// Throws unless: every cell runs exactly once; what a cell needs ran in an earlier wave; a wave's layers are contiguous
// and inside the model; and the input of every layer above the lowest was written by the wave just before (the executor
// keeps hidden states for one wave only).
void check_plan(const Plan& plan);

// Throws UsageError unless the plan runs one segment after another, as RMT asks for: its segment s + 1 starts from what
// the last layer made of segment s.
void check_one_after_another(const Plan& plan);
// "auto" is the fastest that the model allows: diagonal, or sequential for RMT (`one_after_another`). Other names as in
// schedule_from_name(); throws UsageError for those that the model does not allow.
Schedule choose_schedule(std::string_view name, bool one_after_another);
// Why, and what to write instead.
std::string why_sequential(std::string_view asked);

// A picture of the plan: a row a layer (the top one first), a column a wave, in each cell the item it works on; below,
// the size of each wave. Long plans are cut in the middle to fit `width` columns.
std::string draw_plan(const Plan& plan, int width = 100);

}  // namespace wt
