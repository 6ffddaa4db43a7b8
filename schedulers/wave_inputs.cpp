#include "schedulers/wave_inputs.h"

#include <algorithm>
#include <memory>

namespace wt {

std::vector<Chosen> sort_places(const SegmentGrid& grid, const std::vector<TokenPlace>& places, std::int64_t rows,
                                std::int64_t first_row) {
  std::vector<std::vector<std::int32_t>> by_sequence;
  for (std::size_t i = 0; i < places.size(); ++i) {
    WT_CHECK(places[i].sequence >= 0, "place ", i, " names sequence ", places[i].sequence);
    const auto q = static_cast<std::size_t>(places[i].sequence);
    if (by_sequence.size() <= q) by_sequence.resize(q + 1);
    by_sequence[q].push_back(static_cast<std::int32_t>(i));
  }
  for (auto& list : by_sequence) {
    std::sort(list.begin(), list.end(), [&](std::int32_t a, std::int32_t b) {
      return places[static_cast<std::size_t>(a)].position < places[static_cast<std::size_t>(b)].position;
    });
    for (std::size_t i = 1; i < list.size(); ++i) {  // their gradients are added row by row, all at once
      const TokenPlace& place = places[static_cast<std::size_t>(list[i])];
      WT_CHECK(place.position != places[static_cast<std::size_t>(list[i - 1])].position, "token ", place.position,
               " of sequence ", place.sequence, " is chosen twice");
    }
  }
  std::vector<Chosen> chosen(static_cast<std::size_t>(grid.items()));
  std::vector<std::size_t> done(by_sequence.size(), 0);
  std::size_t found = 0;
  for (int item = 0; item < grid.items(); ++item) {
    for (int b = 0; b < grid.batch; ++b) {
      const SegmentCell& cell = grid.at(item, b);
      if (!cell.active() || static_cast<std::size_t>(cell.sequence) >= by_sequence.size()) continue;
      const auto& list = by_sequence[static_cast<std::size_t>(cell.sequence)];
      for (std::size_t& at = done[static_cast<std::size_t>(cell.sequence)]; at < list.size(); ++at, ++found) {
        const std::int64_t position = places[static_cast<std::size_t>(list[at])].position;
        if (position < cell.begin || position >= cell.begin + cell.length) break;
        chosen[static_cast<std::size_t>(item)].row.push_back(
            static_cast<std::int32_t>(b * rows + first_row + position - cell.begin));
        chosen[static_cast<std::size_t>(item)].index.push_back(list[at]);
      }
    }
  }
  WT_CHECK(found == places.size(), places.size() - found, " of ", places.size(), " chosen places lie in no segment");
  return chosen;
}

CellTable make_cell_table(const Model& model, const SegmentGrid& grid, const Wave& wave) {
  const std::int64_t b = grid.batch;
  const auto n = static_cast<std::size_t>(wave.size() * b);
  CellTable table;
  table.flags.assign(n, 0);
  table.rows.assign(n, 0);
  table.first.assign(n, 0);
  table.past.assign(n, 0);
  table.origin.assign(n, 0);
  table.number.assign(n, 0);
  std::size_t at = 0;
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    for (int sample = 0; sample < grid.batch; ++sample, ++at) {
      const SegmentCell& cell = grid.at(wave.item_of(layer), sample);
      table.number[at] = (std::int64_t{wave.item_of(layer)} * model.num_layers() + layer) * b + sample;
      if (!cell.active()) continue;
      table.flags[at] = static_cast<std::uint8_t>(kernels::kCellActive | (cell.first() ? kernels::kCellFirst : 0));
      table.first[at] = static_cast<std::int32_t>(model.layout().row_of(cell.length));
      table.rows[at] = static_cast<std::int32_t>(model.layout().rows(cell.length));
      table.past[at] = static_cast<std::int32_t>(cell.past);
      table.origin[at] = static_cast<std::int32_t>(cell.origin);
      table.any_read = table.any_read || !cell.first();
    }
  }
  return table;
}

namespace {

WaveCells on_device(const CellTable& table, const Model& model, std::int64_t batch, bool numbered) {
  const Stream& stream = model.stream();
  const Shape shape{static_cast<std::int64_t>(table.flags.size()) / batch, batch};
  WaveCells cells;
  cells.cells = {Tensor::from<std::uint8_t>(stream, shape, table.flags),
                 Tensor::from<std::int32_t>(stream, shape, table.rows)};
  if (model.state_grows()) {
    cells.cells.past = Tensor::from<std::int32_t>(stream, shape, table.past);
    cells.cells.origin = Tensor::from<std::int32_t>(stream, shape, table.origin);
  }
  cells.memory_first = Tensor::from<std::int32_t>(stream, shape, table.first);
  cells.lengths = table.rows;
  if (numbered) cells.number = Tensor::from<std::int64_t>(stream, shape, table.number);
  cells.any_read = table.any_read;
  return cells;
}

// The table with its layers in these places.
CellTable in_order(const CellTable& table, const std::vector<std::int32_t>& places, std::size_t batch) {
  CellTable out = table;
  const auto move = [&](const auto& from, auto& to) {
    for (std::size_t g = 0; g < places.size(); ++g) {
      const auto begin = from.begin() + static_cast<std::ptrdiff_t>(g * batch);
      std::copy_n(begin, batch, to.begin() + places[g] * static_cast<std::ptrdiff_t>(batch));
    }
  };
  move(table.flags, out.flags);
  move(table.rows, out.rows);
  move(table.first, out.first);
  move(table.past, out.past);
  move(table.origin, out.origin);
  move(table.number, out.number);
  return out;
}

}  // namespace

WaveCells upload_cells(const Model& model, const CellTable& table, const Wave& wave, std::int64_t batch,
                       bool numbered) {
  WaveCells cells = on_device(table, model, batch, numbered);
  const std::vector<std::int32_t>& places = model.kinds().places(wave.lo, wave.hi);
  if (!places.empty()) {
    const CellTable by_kind = in_order(table, places, static_cast<std::size_t>(batch));
    cells.by_kind = std::make_shared<const WaveCells>(on_device(by_kind, model, batch, numbered));
  }
  return cells;
}

void upload_past(const Model& model, const CellTable& table, const Wave& wave, const WaveCells& cells) {
  if (!model.state_grows()) return;
  const auto put = [&](const CellTable& from, const Tensor& to) {
    to.copy_from(model.stream(), Tensor::from<std::int32_t>(to.shape(), from.past));
  };
  put(table, cells.cells.past);
  if (!cells.by_kind) return;
  const auto batch = static_cast<std::size_t>(cells.cells.past.dim(1));
  put(in_order(table, model.kinds().places(wave.lo, wave.hi), batch), cells.by_kind->cells.past);
}

bool is_cut(const SegmentCell& cell, int k2) {
  return cell.active() && (cell.first() || (k2 > 0 && cell.index % k2 == 0));
}

void zero_cells(const SegmentGrid& grid, const Wave& wave, const State& state, int k2) {
  state.zero_uncarried(wave.lo, wave.hi);
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    for (int b = 0; b < grid.batch; ++b) {
      const SegmentCell& cell = grid.at(wave.item_of(layer), b);
      if (!is_cut(cell, k2)) continue;
      state.zero(layer, b);
      if (!cell.first()) state.zero_rows(layer, b, cell.origin, cell.origin + cell.past);
    }
  }
}

void check_tokens(const Model& model, std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    WT_CHECK(id >= 0 && id < model.config().vocab_size, "embedding: token id ", id, " is not in the vocabulary of ",
             model.config().vocab_size);
  }
}

Tensor index_tensor(const Stream& stream, const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>(stream, {static_cast<std::int64_t>(values.size())}, values);
}

}  // namespace wt
