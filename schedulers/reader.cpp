#include "schedulers/reader.h"

#include <algorithm>

#include "kernels/profile.h"
#include "kernels/rows.h"

namespace wt {
namespace {

// Fewer repetitions than this are not worth a recording.
constexpr std::size_t kMinPeriods = 4;

}  // namespace

std::vector<Repeat> find_repeats(const Plan& plan, const SegmentGrid& grid, const std::vector<Chosen>& chosen) {
  const std::int64_t longest = grid.longest();
  const auto steady = [&](const Wave& wave) {
    for (int layer = wave.lo; layer < wave.hi; ++layer) {
      for (int b = 0; b < grid.batch; ++b) {
        const SegmentCell& cell = grid.at(wave.item_of(layer), b);
        if (!cell.active() || cell.first() || cell.length != longest) return false;
      }
    }
    return wave.hi < plan.layers || chosen[static_cast<std::size_t>(wave.item_of(plan.layers - 1))].row.empty();
  };
  const auto alike = [](const Wave& a, const Wave& b) { return a.lo == b.lo && a.hi == b.hi; };
  const auto layers = static_cast<std::size_t>(plan.layers);
  std::vector<std::size_t> periods{2};
  for (const std::size_t period : {layers, 2 * layers}) {
    if (period % 2 == 0 && period > periods.back()) periods.push_back(period);
  }
  std::vector<bool> is_steady;
  for (const Wave& wave : plan.waves) is_steady.push_back(steady(wave));
  std::vector<Repeat> repeats;
  for (std::size_t begin = 0; begin < plan.waves.size();) {
    std::size_t next = begin + 1;
    for (const std::size_t period : periods) {
      std::size_t end = begin;
      while (end < plan.waves.size() && is_steady[end] &&
             (end < begin + period || alike(plan.waves[end], plan.waves[end - period]))) {
        ++end;
      }
      if (end - begin < kMinPeriods * period) continue;
      repeats.push_back({begin, end, period});
      next = end;
      break;
    }
    begin = next;
  }
  return repeats;
}

Reader::Reader(const Model& model, const TokenSequences& sequences, const SegmentGrid& grid, const Plan& plan,
               const std::vector<Chosen>& chosen, State& state, const Tensor& hidden, const Tensor& min_den,
               const std::vector<StatePlace>& kept)
    : model_(model),
      sequences_(sequences),
      grid_(grid),
      plan_(plan),
      chosen_(chosen),
      state_(state),
      hidden_(hidden),
      min_den_(min_den),
      kept_(kept),
      rows_(grid.longest() + model.memory_rows()) {
  const Shape shape{plan.layers + 1, grid.batch, rows_, model.config().hidden_size};
  for (Tensor& slots : slots_) slots = Tensor::empty(model.stream(), shape, model.dtype());
}

const WaveCells& Reader::cells_of(const Wave& wave) {
  CellTable table = make_cell_table(model_, grid_, wave);
  if (!cells_.cells.flags.defined() || !table.same_work(table_)) {
    cells_ = upload_cells(table, model_.stream(), grid_.batch, false);
    cells_.min_den = min_den_;
    table_ = std::move(table);
  }
  return cells_;
}

EmbeddingRows Reader::rows_of(const Wave& wave) const {
  if (wave.lo > 0) return {};
  return model_.embedding_rows(input_rows(model_, grid_, wave.item_of(0), sequences_, rows_), {});
}

void Reader::run_wave(std::size_t w, const WaveCells& cells, const EmbeddingRows& rows) {
  const Wave& wave = plan_.waves[w];
  const Tensor &in = slots_[w % 2], &out = slots_[(w + 1) % 2];
  const Stream& stream = model_.stream();
  if (wave.lo == 0) {
    Context ctx{stream, nullptr, false, 0, 1};
    model_.embed(ctx, cells, rows, in.select(0), model_.carries_rows() ? Var(state_[0]) : Var());
  }
  State slice;
  for (const Tensor& tensor : model_.layer_state(state_)) slice.push_back(tensor.slice(wave.lo, wave.hi));
  Context ctx{stream, nullptr, false, wave.lo, wave.hi};
  model_.forward(ctx, cells, in.slice(wave.lo, wave.hi), {slice.begin(), slice.end()}, slice,
                 out.slice(wave.lo + 1, wave.hi + 1));
  if (model_.carries_rows() && wave.hi == plan_.layers) {
    const Var memory = model_.carry(ctx, cells, out.slice(plan_.layers, plan_.layers + 1));
    put_carried(model_, grid_, wave.item_of(plan_.layers - 1), memory.value, state_);
  }
}

void Reader::deliver(std::size_t w) {
  const Wave& wave = plan_.waves[w];
  if (wave.hi < plan_.layers) return;
  const Chosen& rows = chosen_[static_cast<std::size_t>(wave.item_of(plan_.layers - 1))];
  if (rows.row.empty()) return;
  const Stream& stream = model_.stream();
  const Tensor values =
      Tensor::empty(stream, {static_cast<std::int64_t>(rows.row.size()), hidden_.dim(1)}, hidden_.dtype());
  const Tensor top = slots_[(w + 1) % 2].slice(plan_.layers, plan_.layers + 1);
  kernels::gather_rows(stream, top, index_tensor(stream, rows.row), values);
  kernels::put_rows(stream, values, index_tensor(stream, rows.index), hidden_);
}

// Copies the state of the sequences whose last segment this wave has read.
void Reader::keep_ended(const Wave& wave) {
  if (kept_.empty()) return;
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    // RMT's state belongs to no layer; it is whole when the last one has run.
    if (model_.carries_rows() && layer + 1 < plan_.layers) continue;
    const int item = wave.item_of(layer), slot = model_.carries_rows() ? 0 : layer;
    for (int b = 0; b < grid_.batch; ++b) {
      const SegmentCell& cell = grid_.at(item, b);
      if (!cell.active()) continue;
      if (item + 1 < grid_.items() && grid_.at(item + 1, b).sequence == cell.sequence) continue;
      const StatePlace& to = kept_[static_cast<std::size_t>(cell.sequence)];
      for (std::size_t i = 0; i < state_.size(); ++i) {
        to.state[i].select(slot).select(to.sample).copy_from(model_.stream(), state_[i].select(slot).select(b));
      }
    }
  }
}

void Reader::run_whole(std::size_t w) {
  const Wave& wave = plan_.waves[w];
  const WaveErrorContext error_context(w, wave);
  zero_cells(grid_, wave, model_.layer_state(state_), 0, model_.stream());
  run_wave(w, cells_of(wave), rows_of(wave).to(model_.stream()));
  deliver(w);
  keep_ended(wave);
}

// Runs the repeat as far as whole periods go; returns the first wave that is left.
std::size_t Reader::replay(const Repeat& repeat) {
  const Stream& stream = model_.stream();
  const std::size_t period = repeat.period;
  // The first period runs as usual, so that every library has its plans.
  std::size_t w = repeat.begin;
  for (; w < repeat.begin + period; ++w) run_whole(w);
  std::vector<WaveCells> cells;
  std::vector<EmbeddingRows> rows;
  for (std::size_t i = 0; i < period; ++i) {
    cells.push_back(cells_of(plan_.waves[w + i]));
    rows.push_back(rows_of(plan_.waves[w + i]).to(stream));
  }
  const Graph graph = Graph::record(stream, [&] {
    for (std::size_t i = 0; i < period; ++i) run_wave(w + i, cells[i], rows[i]);
  });
  if (!graph.recorded()) {  // no memory for it
    for (; w < repeat.end; ++w) run_whole(w);
    return w;
  }
  for (; w + period <= repeat.end; w += period) {
    const WaveErrorContext error_context(w, plan_.waves[w]);
    for (std::size_t i = 0; i < period; ++i) rows[i].copy_from(stream, rows_of(plan_.waves[w + i]));
    graph.launch(stream);
    // A sequence that ends inside the period is followed by a first segment or by none, which is not steady: nothing
    // here has touched its state since.
    for (std::size_t i = 0; i < period; ++i) keep_ended(plan_.waves[w + i]);
  }
  return w;
}

void Reader::run() {
  // A graph's kernels cannot be timed one by one.
  const bool records = model_.stream().device().is_cuda() && !kernels::Profile::is_open();
  const std::vector<Repeat> repeats = records ? find_repeats(plan_, grid_, chosen_) : std::vector<Repeat>{};
  auto next = repeats.begin();
  for (std::size_t w = 0; w < plan_.waves.size();) {
    if (next != repeats.end() && next->begin == w) {
      w = replay(*next++);
    } else {
      run_whole(w++);
    }
  }
}

}  // namespace wt
