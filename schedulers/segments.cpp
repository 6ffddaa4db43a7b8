#include "schedulers/segments.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace wt {

std::vector<Segment> cut_segments(std::int64_t n, std::int64_t size, SegmentAlignment alignment) {
  WT_CHECK(n >= 0 && size > 0, "cannot cut ", n, " tokens into segments of ", size);
  const std::int64_t count = (n + size - 1) / size;
  std::vector<Segment> segments;
  segments.reserve(static_cast<std::size_t>(count));
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t length = std::min(size, n - begin);
    if (alignment == SegmentAlignment::kRight && i == 0) length = n - (count - 1) * size;
    if (alignment == SegmentAlignment::kCenter) length = n / count + (i < n % count ? 1 : 0);
    segments.push_back({begin, length});
    begin += length;
  }
  return segments;
}

std::int64_t SegmentGrid::longest() const {
  std::int64_t longest = 0;
  for (const SegmentCell& cell : cells) longest = std::max(longest, cell.length);
  return longest;
}

void SegmentGrid::lay_out(const SegmentLayout& layout) {
  for (int b = 0; b < batch; ++b) {
    std::int64_t origin = 0, end = 0;
    std::int32_t sequence = -1;
    for (int item = 0; item < items(); ++item) {
      SegmentCell& cell =
          cells[static_cast<std::size_t>(item) * static_cast<std::size_t>(batch) + static_cast<std::size_t>(b)];
      if (!cell.active()) continue;
      if (std::exchange(sequence, cell.sequence) != cell.sequence) origin = end;
      cell.origin = origin;
      end = origin + cell.past + layout.rows(cell.length);
    }
  }
}

std::int64_t SegmentGrid::reserved(const SegmentLayout& layout) const {
  std::int64_t most = 0;
  for (const SegmentCell& cell : cells) {
    if (cell.active()) most = std::max(most, cell.origin + cell.past + layout.rows(cell.length));
  }
  return most;
}

SegmentGrid make_grid(const std::vector<std::int64_t>& lengths, int batch, std::int64_t segment_size,
                      SegmentAlignment alignment) {
  WT_CHECK(batch > 0, "a batch has at least one sample");
  SegmentGrid grid;
  grid.batch = batch;
  for (std::size_t round = 0; round < lengths.size(); round += static_cast<std::size_t>(batch)) {
    const std::size_t end = std::min(lengths.size(), round + static_cast<std::size_t>(batch));
    std::vector<std::vector<Segment>> cut;
    std::size_t steps = 0;
    for (std::size_t q = round; q < end; ++q) {
      cut.push_back(cut_segments(lengths[q], segment_size, alignment));
      steps = std::max(steps, cut.back().size());
    }
    for (std::size_t step = 0; step < steps; ++step) {
      for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
        SegmentCell cell;
        if (b < cut.size() && step < cut[b].size()) {
          cell = {static_cast<std::int32_t>(round + b), static_cast<std::int32_t>(step), cut[b][step].begin,
                  cut[b][step].length};
        }
        grid.cells.push_back(cell);
      }
    }
    if (steps > 0) grid.segments_by_round.push_back(static_cast<int>(steps));
  }
  return grid;
}

}  // namespace wt
