#include "schedulers/reading.h"

#include <algorithm>

#include "schedulers/executor.h"

namespace wt {
namespace {

// Segments that are read at a time: enough for the ramps of a diagonal plan (L - 1 waves at either end) to cost little.
constexpr int kMinSegments = 64;
constexpr int kSegmentsPerLayer = 8;

}  // namespace

Reading new_reading(const Model& model, int batch) {
  WT_CHECK(batch > 0, "reading: a batch has at least one sample");
  Reading reading;
  reading.memory = model.new_state(batch);
  reading.open.resize(static_cast<std::size_t>(batch));
  reading.closed.assign(static_cast<std::size_t>(batch), 0);
  return reading;
}

Reading repeated(const Model& model, const Reading& reading, int batch) {
  WT_CHECK(reading.batch() == 1, "reading: ", reading.batch(), " samples to repeat, expected one");
  Reading out = new_reading(model, batch);
  for (std::size_t i = 0; i < out.memory.size(); ++i) {
    for (std::int64_t layer = 0; layer < out.memory[i].dim(0); ++layer) {
      for (int b = 0; b < batch; ++b) {
        out.memory[i].select(layer).select(b).copy_from(model.stream(), reading.memory[i].select(layer).select(0));
      }
    }
  }
  std::fill(out.open.begin(), out.open.end(), reading.open.front());
  std::fill(out.closed.begin(), out.closed.end(), reading.closed.front());
  return out;
}

void read_on(const Model& model, const TokenSequences& ids, Schedule schedule, Reading& reading) {
  const int batch = reading.batch();
  WT_CHECK(static_cast<int>(ids.size()) == batch, "reading: tokens for ", ids.size(), " samples, expected ", batch);
  for (const auto& list : ids) {
    for (const std::int32_t id : list) {
      WT_CHECK(id >= 0 && id < model.config().vocab_size, "reading: token id ", id, " is not in the vocabulary of ",
               model.config().vocab_size);
    }
  }
  TokenSequences closing(ids.size());
  std::vector<std::int64_t> lengths;
  for (std::size_t at = 0; at < ids.size(); ++at) {
    auto& open = reading.open[at];
    open.insert(open.end(), ids[at].begin(), ids[at].end());
    const auto n = static_cast<std::int64_t>(open.size()), size = model.segment_size(n);
    const std::int64_t end = n == 0 ? 0 : (n - 1) / size * size;
    closing[at].assign(open.begin(), open.begin() + end);
    open.erase(open.begin(), open.begin() + end);
    lengths.push_back(end);
  }
  if (std::all_of(lengths.begin(), lengths.end(), [](std::int64_t length) { return length == 0; })) return;

  const std::int64_t size = model.segment_size(0);
  SegmentGrid grid = make_grid(lengths, batch, size, SegmentAlignment::kLeft);
  for (int item = 0; item < grid.items(); ++item) {
    for (int b = 0; b < batch; ++b) {
      // Numbered from the start of the text: what is not the first segment reads the memory and leaves it in place.
      const auto at = static_cast<std::size_t>(item) * static_cast<std::size_t>(batch) + static_cast<std::size_t>(b);
      SegmentCell& cell = grid.cells[at];
      if (cell.active() && reading.closed[static_cast<std::size_t>(b)] > 0) ++cell.index;
    }
  }
  Executor executor(model);
  executor.forward(closing, grid, make_plan(schedule, model.num_layers(), grid.segments_by_round), {}, reading.memory,
                   {});
  for (std::size_t at = 0; at < lengths.size(); ++at) reading.closed[at] += lengths[at];
}

PieceReader::PieceReader(const Model& model, Schedule schedule, Reading& reading)
    : model_(model), schedule_(schedule), reading_(reading) {
  WT_CHECK(reading.batch() == 1, "reading in pieces: ", reading.batch(), " samples, expected one");
  const int segments = std::max(kMinSegments, kSegmentsPerLayer * model.num_layers());
  piece_ = static_cast<std::size_t>(segments * model.segment_size(0));
}

void PieceReader::push(const std::vector<std::int32_t>& ids) {
  for (std::size_t begin = 0; begin < ids.size();) {
    const std::size_t count = std::min(ids.size() - begin, piece_ - waiting_.size());
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
    waiting_.insert(waiting_.end(), first, first + static_cast<std::ptrdiff_t>(count));
    begin += count;
    if (waiting_.size() == piece_) finish();
  }
}

void PieceReader::finish() {
  if (waiting_.empty()) return;
  read_on(model_, {waiting_}, schedule_, reading_);
  waiting_.clear();
}

}  // namespace wt
