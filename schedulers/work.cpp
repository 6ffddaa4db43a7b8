#include "schedulers/work.h"

#include <algorithm>
#include <utility>

namespace wt {

Work::Work(const Model& model, TokenSequences ids, int batch, Schedule schedule, std::vector<TokenPlace> wanted,
           std::optional<SegmentAlignment> alignment)
    : sequences(std::move(ids)), places(std::move(wanted)) {
  std::vector<std::int64_t> lengths;
  std::int64_t longest = 0;
  for (const auto& sequence : sequences) {
    lengths.push_back(static_cast<std::int64_t>(sequence.size()));
    longest = std::max(longest, lengths.back());
  }
  grid = make_grid(lengths, batch, model.segment_size(longest), alignment.value_or(model.config().segment_alignment()));
  for (SegmentCell& cell : grid.cells) cell.past = cell.begin + cell.index * model.layout().memory_rows();
  plan = make_plan(schedule, model.num_layers(), grid.segments_by_round);
}

}  // namespace wt
