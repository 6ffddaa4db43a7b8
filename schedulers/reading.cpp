#include "schedulers/reading.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "schedulers/executor.h"

namespace wt {
namespace {

// Segments that are read at a time: enough for the ramps of a diagonal plan (L - 1 waves at either end) to cost little.
constexpr int kMinSegments = 64;
constexpr int kSegmentsPerLayer = 8;

void check_ids(const Model& model, const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) {
    WT_CHECK(id >= 0 && id < model.config().vocab_size, "reading: token id ", id, " is not in the vocabulary of ",
             model.config().vocab_size);
  }
}

// Takes the closed segments off an open text.
std::vector<std::int32_t> take_closing(const Model& model, std::vector<std::int32_t>& open) {
  const auto n = static_cast<std::int64_t>(open.size()), size = model.segment_size(n);
  if (n <= size) return {};
  const auto end = open.begin() + (n - 1) / size * size;
  std::vector<std::int32_t> rest(end, open.end());
  open.erase(end, open.end());
  return std::exchange(open, std::move(rest));
}

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
  out.memory.reserve(reading.memory.reserved());
  for (int b = 0; b < batch; ++b) out.memory.copy_sample(b, reading.memory, 0);
  std::fill(out.open.begin(), out.open.end(), reading.open.front());
  std::fill(out.closed.begin(), out.closed.end(), reading.closed.front());
  return out;
}

void read_on(const Model& model, const TokenSequences& ids, Schedule schedule, Reading& reading) {
  const int batch = reading.batch();
  WT_CHECK(static_cast<int>(ids.size()) == batch, "reading: tokens for ", ids.size(), " samples, expected ", batch);
  for (const auto& list : ids) check_ids(model, list);
  TokenSequences closing(ids.size());
  std::vector<std::int64_t> lengths;
  for (std::size_t at = 0; at < ids.size(); ++at) {
    auto& open = reading.open[at];
    open.insert(open.end(), ids[at].begin(), ids[at].end());
    closing[at] = take_closing(model, open);
    lengths.push_back(static_cast<std::int64_t>(closing[at].size()));
  }
  if (std::all_of(lengths.begin(), lengths.end(), [](std::int64_t length) { return length == 0; })) return;

  Work work(model, std::move(closing), batch, schedule, {}, SegmentAlignment::kLeft);
  SegmentGrid& grid = work.grid;
  for (int item = 0; item < grid.items(); ++item) {
    for (int b = 0; b < batch; ++b) {
      // Numbered from the start of the text: what is not the first segment reads the memory and leaves it in place.
      const auto at = static_cast<std::size_t>(item) * static_cast<std::size_t>(batch) + static_cast<std::size_t>(b);
      SegmentCell& cell = grid.cells[at];
      const std::int64_t closed = reading.closed[static_cast<std::size_t>(b)];
      if (!cell.active() || closed == 0) continue;
      ++cell.index;
      cell.past += model.closed_rows(closed);
    }
  }
  if (model.state_grows()) {
    // By half more than there was, so that reading piece by piece copies every row a few times only.
    const std::int64_t rows = grid.reserved(model.layout()), before = reading.memory.reserved();
    if (rows > before) reading.memory.reserve(std::max(rows, before + before / 2));
  }
  Executor(model).forward(work, reading.memory, {});
  for (std::size_t at = 0; at < lengths.size(); ++at) reading.closed[at] += lengths[at];
}

std::int64_t segments_to_stream(const Model& model) {
  return std::max(kMinSegments, kSegmentsPerLayer * model.num_layers());
}

std::vector<Reading> read_texts(const Model& model, TokenSequences texts, int lanes, Schedule schedule) {
  WT_CHECK(lanes > 0, "reading: texts for no lane");
  std::vector<Reading> readings;
  const std::size_t count = texts.size(), width = static_cast<std::size_t>(lanes);
  for (std::size_t first = 0; first < count; first += width) {
    readings.push_back(new_reading(model, static_cast<int>(std::min(width, count - first))));
  }
  if (schedule == Schedule::kDiagonal || count <= width) {
    for (std::size_t c = 0; c < readings.size(); ++c) {
      const auto begin = texts.begin() + static_cast<std::ptrdiff_t>(c * width);
      const TokenSequences part(std::make_move_iterator(begin), std::make_move_iterator(begin + readings[c].batch()));
      read_on(model, part, schedule, readings[c]);
    }
    return readings;
  }
  struct Closing {
    std::vector<std::int32_t> ids;
    std::size_t text;
  };
  std::vector<Closing> all;
  for (std::size_t q = 0; q < count; ++q) {
    check_ids(model, texts[q]);
    Reading& reading = readings[q / width];
    std::vector<std::int32_t>& open = reading.open[q % width];
    open = std::move(texts[q]);
    std::vector<std::int32_t> ids = take_closing(model, open);
    reading.closed[q % width] = static_cast<std::int64_t>(ids.size());
    if (model.state_grows()) reading.memory.reserve(model.closed_rows(reading.closed[q % width]));
    if (!ids.empty()) all.push_back({std::move(ids), q});
  }
  if (all.empty()) return readings;
  // Rounds of texts about as long as each other: few lanes wait for a round's longest.
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.ids.size() > b.ids.size(); });
  ExecutorOptions options;
  TokenSequences sequences;
  for (Closing& closing : all) {
    sequences.push_back(std::move(closing.ids));
    options.kept.push_back({readings[closing.text / width].memory, static_cast<int>(closing.text % width)});
  }
  const int batch = std::min(lanes, static_cast<int>(all.size()));
  State state = model.new_state(batch);
  Executor(model).forward(Work(model, std::move(sequences), batch, schedule, {}, SegmentAlignment::kLeft), state,
                          options);
  return readings;
}

void read_in_pieces(const Model& model, const std::vector<NextTokens>& texts, Schedule schedule, Reading& reading) {
  const auto piece = static_cast<std::size_t>(segments_to_stream(model) * model.segment_size(0));
  const auto window = static_cast<std::size_t>(model.config().window);
  TokenSequences waiting(texts.size());
  std::vector<bool> ended(texts.size(), false);
  for (;;) {
    TokenSequences ids(texts.size());
    bool any = false;
    for (std::size_t q = 0; q < texts.size(); ++q) {
      while (!ended[q] && waiting[q].size() < piece) {
        const std::vector<std::int32_t> next = texts[q]();
        ended[q] = next.empty();
        waiting[q].insert(waiting[q].end(), next.begin(), next.end());
      }
      const auto end = waiting[q].begin() + static_cast<std::ptrdiff_t>(std::min(piece, waiting[q].size()));
      ids[q].assign(waiting[q].begin(), end);
      waiting[q].erase(waiting[q].begin(), end);
      any = any || !ids[q].empty();
    }
    if (!any) return;
    read_on(model, ids, schedule, reading);
    for (auto& open : reading.open) {
      if (window > 0 && open.size() > window) open.erase(open.begin(), open.end() - model.config().window);
    }
  }
}

}  // namespace wt
