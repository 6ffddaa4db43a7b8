#include "schedulers/reader.h"

#include <algorithm>
#include <utility>

#include "kernels/profile.h"

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

Reader::Reader(const Model& model, const Work& work, Source& source, Sink& sink, const std::vector<Chosen>& chosen,
               const State& state, const Tensor& min_den, std::shared_ptr<const std::vector<Tensor>> constants,
               const std::vector<StatePlace>& kept)
    : model_(model),
      grid_(work.grid),
      plan_(work.plan),
      source_(source),
      sink_(sink),
      chosen_(chosen),
      state_(state),
      min_den_(min_den),
      constants_(std::move(constants)),
      kept_(kept) {
  const Shape shape{plan_.layers + 1, grid_.batch, model.layout().rows(grid_.longest()), model.config().hidden_size};
  for (Tensor& slots : slots_) slots = Tensor::empty(model.stream(), shape, model.dtype());
}

WaveCells Reader::upload(const CellTable& table, const Wave& wave) const {
  WaveCells cells = upload_cells(model_, table, wave, grid_.batch, false);
  cells.min_den = min_den_;
  cells.constants = constants_;
  return cells;
}

const WaveCells& Reader::cells_of(const Wave& wave) {
  CellTable table = make_cell_table(model_, grid_, wave);
  // Layers count too: the order of kinds depends on them.
  if (wave.lo != lo_ || wave.hi != hi_ || !table.same_work(table_)) {
    cells_ = upload(table, wave);
    lo_ = wave.lo;
    hi_ = wave.hi;
  } else if (table.past != table_.past) {
    upload_past(model_, table, wave, cells_);
  }
  table_ = std::move(table);
  return cells_;
}

EndRecord Reader::source_of(const Wave& wave, const WaveCells& cells) {
  if (wave.lo > 0) return {};
  EndRecord record(cells, wave.lo, 0, false, false);
  source_.prepare(record, wave.item_of(0));
  return record;
}

void Reader::run_wave(std::size_t w, const WaveCells& cells, EndRecord& source) {
  const Wave& wave = plan_.waves[w];
  const Tensor &in = slots_[w % 2], &out = slots_[(w + 1) % 2];
  if (wave.lo == 0) source_.fill(source, in.slice(0, 1));
  const std::vector<Tensor> state = state_.slice(wave.lo, wave.hi);
  Context ctx{model_.stream(), nullptr, false, wave.lo, wave.hi};
  model_.forward(ctx, cells, in.slice(wave.lo, wave.hi), {state.begin(), state.end()}, state,
                 out.slice(wave.lo + 1, wave.hi + 1));
  if (wave.hi < plan_.layers) return;
  EndRecord sink(cells, wave.lo, plan_.layers - 1, false, false);
  sink_.take(sink, wave.item_of(plan_.layers - 1), out.slice(plan_.layers, plan_.layers + 1));
}

// Copies the state of the sequences whose last segment this wave has read.
void Reader::keep_ended(const Wave& wave) {
  if (kept_.empty()) return;
  const auto keep = [&](int layer, int item) {
    for (int b = 0; b < grid_.batch; ++b) {
      const SegmentCell& cell = grid_.at(item, b);
      if (!cell.active()) continue;
      if (item + 1 < grid_.items() && grid_.at(item + 1, b).sequence == cell.sequence) continue;
      const StatePlace& to = kept_[static_cast<std::size_t>(cell.sequence)];
      to.state.copy(layer, to.sample, state_, b, cell.past + model_.layout().rows(cell.length));
    }
  };
  for (int layer = wave.lo; layer < wave.hi; ++layer) keep(layer, wave.item_of(layer));
  // What belongs to no layer is whole when the last one has run.
  if (wave.hi == plan_.layers) keep(State::kOwn, wave.item_of(plan_.layers - 1));
}

void Reader::run_whole(std::size_t w) {
  const Wave& wave = plan_.waves[w];
  const WaveErrorContext error_context(w, wave);
  zero_cells(grid_, wave, state_, 0);
  const WaveCells& cells = cells_of(wave);
  EndRecord source = source_of(wave, cells);
  run_wave(w, cells, source);
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
  std::vector<EndRecord> sources;
  for (std::size_t i = 0; i < period; ++i) {
    // Each its own: `past` differs from wave to wave.
    cells.push_back(upload(make_cell_table(model_, grid_, plan_.waves[w + i]), plan_.waves[w + i]));
    sources.push_back(source_of(plan_.waves[w + i], cells.back()));
  }
  const Graph graph = Graph::record(stream, [&] {
    for (std::size_t i = 0; i < period; ++i) {
      state_.zero_uncarried(plan_.waves[w + i].lo, plan_.waves[w + i].hi);
      run_wave(w + i, cells[i], sources[i]);
    }
  });
  if (!graph.recorded()) {  // no memory for it
    for (; w < repeat.end; ++w) run_whole(w);
    return w;
  }
  for (; w + period <= repeat.end; w += period) {
    const WaveErrorContext error_context(w, plan_.waves[w]);
    for (std::size_t i = 0; i < period; ++i) {
      const Wave& wave = plan_.waves[w + i];
      if (wave.lo == 0) source_.prepare(sources[i], wave.item_of(0));
      if (model_.state_grows()) upload_past(model_, make_cell_table(model_, grid_, wave), wave, cells[i]);
    }
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
