#include "schedulers/wave_inputs.h"

#include <algorithm>

#include "kernels/embedding.h"

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
  table.number.assign(n, 0);
  std::size_t at = 0;
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    for (int sample = 0; sample < grid.batch; ++sample, ++at) {
      const SegmentCell& cell = grid.at(wave.item_of(layer), sample);
      table.number[at] = (std::int64_t{wave.item_of(layer)} * model.num_layers() + layer) * b + sample;
      if (!cell.active()) continue;
      table.flags[at] = static_cast<std::uint8_t>(kernels::kCellActive | (cell.first() ? kernels::kCellFirst : 0));
      table.first[at] = static_cast<std::int32_t>(model.first_token_row() + cell.length);
      table.rows[at] = static_cast<std::int32_t>(cell.length + model.memory_rows());
      table.any_read = table.any_read || !cell.first();
    }
  }
  return table;
}

WaveCells upload_cells(const CellTable& table, const Stream& stream, std::int64_t batch, bool numbered) {
  const Shape shape{static_cast<std::int64_t>(table.flags.size()) / batch, batch};
  WaveCells cells;
  cells.cells = {Tensor::from<std::uint8_t>(stream, shape, table.flags),
                 Tensor::from<std::int32_t>(stream, shape, table.rows)};
  cells.memory_first = Tensor::from<std::int32_t>(stream, shape, table.first);
  cells.lengths = table.rows;
  if (numbered) cells.number = Tensor::from<std::int64_t>(stream, shape, table.number);
  cells.any_read = table.any_read;
  return cells;
}

Tensor input_rows(const Model& model, const SegmentGrid& grid, int item, const TokenSequences& sequences,
                  std::int64_t rows) {
  std::vector<std::int32_t> table(static_cast<std::size_t>(grid.batch * rows), kernels::kPaddingRow);
  for (int b = 0; b < grid.batch; ++b) {
    const SegmentCell& cell = grid.at(item, b);
    if (!cell.active()) continue;
    const auto& ids = sequences[static_cast<std::size_t>(cell.sequence)];
    for (std::int64_t t = cell.begin; t < cell.begin + cell.length; ++t) {
      const std::int32_t id = ids[static_cast<std::size_t>(t)];
      WT_CHECK(id >= 0 && id < model.config().vocab_size, "embedding: token id ", id, " is not in the vocabulary of ",
               model.config().vocab_size);
    }
    auto out = table.begin() + b * rows;
    const auto append_memory = [&] {
      const bool carried = model.carries_rows() && !cell.first();
      for (std::int32_t j = 0; j < model.num_mem_tokens(); ++j) {
        *out++ = carried ? model.carried_row(j) : kernels::memory_row(j);
      }
    };
    if (model.carries_rows()) append_memory();
    out = std::copy_n(ids.begin() + cell.begin, cell.length, out);
    append_memory();
  }
  return Tensor::from<std::int32_t>({grid.batch, rows}, table);
}

void put_carried(const Model& model, const SegmentGrid& grid, int item, const Tensor& memory, const State& state) {
  for (int b = 0; b < grid.batch; ++b) {
    if (!grid.at(item, b).active()) continue;
    state[0].select(0).select(b).copy_from(model.stream(), memory.select(0).select(b));
  }
}

void zero_cells(const SegmentGrid& grid, const Wave& wave, const State& tensors, int k2, const Stream& stream) {
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    for (int b = 0; b < grid.batch; ++b) {
      const SegmentCell& cell = grid.at(wave.item_of(layer), b);
      if (!cell.active() || (!cell.first() && (k2 == 0 || cell.index % k2 != 0))) continue;
      for (const Tensor& tensor : tensors) tensor.select(layer).select(b).fill_zero(stream);
    }
  }
}

Tensor index_tensor(const Stream& stream, const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>(stream, {static_cast<std::int64_t>(values.size())}, values);
}

}  // namespace wt
