#include "schedulers/executor.h"

#include <algorithm>
#include <cstring>

#include "kernels/embedding.h"
#include "kernels/rows.h"

namespace wt {
namespace {

class WaveErrorContext final : public ErrorContext {
 public:
  WaveErrorContext(std::size_t number, const Wave& wave) : number_(number), wave_(wave) {}
  std::string describe() const override { return cat("wave ", number_, ", ", wave_); }

 private:
  std::size_t number_;
  const Wave& wave_;
};

// Hidden states of neighbouring slots: slot l is the input of layer l, slot L the output of the last layer.
struct Slots {
  Tensor data;
  int first = 0;
  bool holds(int lo, int hi) const { return data.defined() && lo >= first && hi <= first + data.dim(0); }
  Tensor view(int lo, int hi) const { return data.slice(lo - first, hi - first); }
};

// The rows that each item delivers from the top layer.
struct Chosen {
  std::vector<std::int32_t> row;    // in the (B, T) rows of the item
  std::vector<std::int32_t> index;  // in `places`
};

std::vector<Chosen> sort_places(const SegmentGrid& grid, const std::vector<TokenPlace>& places, std::int64_t rows) {
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
            static_cast<std::int32_t>(b * rows + position - cell.begin));
        chosen[static_cast<std::size_t>(item)].index.push_back(list[at]);
      }
    }
  }
  WT_CHECK(found == places.size(), places.size() - found, " of ", places.size(), " chosen places lie in no segment");
  return chosen;
}

Tensor index_tensor(const Stream& stream, const std::vector<std::int32_t>& values) {
  return Tensor::from<std::int32_t>(stream, {static_cast<std::int64_t>(values.size())}, values);
}

}  // namespace

WaveCells Executor::make_cells(const Wave& wave, const SegmentGrid& grid) const {
  const std::int64_t g = wave.size(), b = grid.batch;
  const auto n = static_cast<std::size_t>(g * b);
  std::vector<std::uint8_t> flags(n, 0);
  std::vector<std::int32_t> rows(n, 0), first(n, 0);
  std::vector<std::int64_t> number(n, 0);
  WaveCells cells;
  std::size_t at = 0;
  for (int layer = wave.lo; layer < wave.hi; ++layer) {
    for (int sample = 0; sample < grid.batch; ++sample, ++at) {
      const SegmentCell& cell = grid.at(wave.item_of(layer), sample);
      number[at] = (std::int64_t{wave.item_of(layer)} * model_.num_layers() + layer) * b + sample;
      if (!cell.active()) continue;
      flags[at] = static_cast<std::uint8_t>(kernels::kCellActive | (cell.first() ? kernels::kCellFirst : 0));
      first[at] = static_cast<std::int32_t>(cell.length);
      rows[at] = static_cast<std::int32_t>(cell.length + model_.num_mem_tokens());
      cells.any_read = cells.any_read || !cell.first();
    }
  }
  const Shape shape{g, b};
  const Stream& stream = model_.stream();
  cells.cells = {Tensor::from<std::uint8_t>(stream, shape, flags), Tensor::from<std::int32_t>(stream, shape, rows)};
  cells.memory_first = Tensor::from<std::int32_t>(stream, shape, first);
  if (options_.training) cells.number = Tensor::from<std::int64_t>(stream, shape, number);
  cells.min_den = min_den_;
  cells.dropout = options_.dropout;
  return cells;
}

Tensor Executor::input_rows(const SegmentGrid& grid, int item,
                            const std::vector<std::vector<std::int32_t>>& sequences) const {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(grid.batch * rows_), kernels::kPaddingRow);
  for (int b = 0; b < grid.batch; ++b) {
    const SegmentCell& cell = grid.at(item, b);
    if (!cell.active()) continue;
    const auto& ids = sequences[static_cast<std::size_t>(cell.sequence)];
    // Negative ids would mean padding and memory rows, and a GPU does not check.
    for (std::int64_t t = cell.begin; t < cell.begin + cell.length; ++t) {
      const std::int32_t id = ids[static_cast<std::size_t>(t)];
      WT_CHECK(id >= 0 && id < model_.config().vocab_size, "embedding: token id ", id, " is not in the vocabulary of ",
               model_.config().vocab_size);
    }
    auto out = rows.begin() + b * rows_;
    out = std::copy_n(ids.begin() + cell.begin, cell.length, out);
    for (std::int32_t j = 0; j < model_.num_mem_tokens(); ++j) *out++ = kernels::memory_row(j);
  }
  return Tensor::from<std::int32_t>({grid.batch, rows_}, rows);
}

// Zeroes the state of cells that start a sequence, or the gradient that must not leave a cell backwards.
void Executor::zero_cells(const Step& step, const State& tensors, bool gradients) const {
  for (int layer = step.wave.lo; layer < step.wave.hi; ++layer) {
    for (int b = 0; b < grid_.batch; ++b) {
      const SegmentCell& cell = grid_.at(step.wave.item_of(layer), b);
      if (!cell.active()) continue;
      const bool cut = gradients && options_.k2 > 0 && cell.index % options_.k2 == 0;
      if (!cell.first() && !cut) continue;
      for (const Tensor& tensor : tensors) tensor.select(layer).select(b).fill_zero(model_.stream());
    }
  }
}

void Executor::run_blocks(Step& step, const State& state_out, const Tensor& out, bool recorded) {
  Context ctx{model_.stream(), recorded ? &step.record : nullptr, options_.training, step.wave.lo, step.wave.hi};
  step.input = recorded ? step.record.leaf(step.x) : Var(step.x);
  step.state_in.clear();
  for (const Tensor& tensor : step.state) step.state_in.push_back(recorded ? step.record.leaf(tensor) : Var(tensor));
  Model::WaveOutput output = model_.forward(ctx, step.cells, step.input, step.state_in, state_out, out);
  step.output = std::move(output.y);
  step.state_out = std::move(output.state);
}

Tensor Executor::forward(const std::vector<std::vector<std::int32_t>>& sequences, const SegmentGrid& grid,
                         const Plan& plan, const std::vector<TokenPlace>& places, State& state,
                         const ExecutorOptions& options) {
  WT_CHECK(plan.layers == model_.num_layers() && plan.items == grid.items(), "the plan is for ", plan.layers,
           " layers and ", plan.items, " segments, the model has ", model_.num_layers(), " and the batch ",
           grid.items());
  check_plan(plan);
  const Stream& stream = model_.stream();
  const int layers = plan.layers;
  const std::int64_t b = grid.batch, d = model_.config().hidden_size;
  options_ = options;
  grid_ = grid;
  rows_ = grid.longest() + model_.num_mem_tokens();
  WT_CHECK(model_.max_segment_tokens() == 0 || grid.longest() <= model_.max_segment_tokens(), "a segment has ",
           grid.longest(), " tokens, the model's position table ", model_.max_segment_tokens());
  tape_.clear();
  order_.clear();
  saved_bytes_.clear();
  dstate_.clear();
  min_den_ = Tensor::from<double>({1}, {std::numeric_limits<double>::infinity()}).to(stream, wide(model_.dtype()));
  const std::vector<Chosen> chosen = sort_places(grid, places, rows_);
  const Tensor hidden = Tensor::empty(stream, {static_cast<std::int64_t>(places.size()), d}, model_.dtype());

  const auto new_slots = [&](int lo, int hi) {
    return Slots{Tensor::empty(stream, {hi - lo, b, rows_, d}, model_.dtype()), lo};
  };
  Slots in, spare;
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    const Wave& wave = plan.waves[w];
    const WaveErrorContext error_context(w, wave);
    if (!in.holds(wave.lo, wave.hi)) in = new_slots(wave.lo, wave.hi);

    Step step;
    step.wave = wave;
    step.cells = make_cells(wave, grid);
    if (wave.lo == 0) {
      Context ctx{stream, options.gradients ? &step.embedding : nullptr, options.training, 0, 1};
      WaveCells first = step.cells;
      if (first.number.defined()) first.number = first.number.slice(0, 1);
      const Tensor rows = input_rows(grid, wave.item_of(0), sequences);
      step.embedded = model_.embed(ctx, first, rows, {}, in.view(0, 1).select(0));
    }
    step.x = in.view(wave.lo, wave.hi);
    zero_cells(step, state, false);
    State state_slice;
    for (const Tensor& tensor : state) state_slice.push_back(tensor.slice(wave.lo, wave.hi));
    for (const Tensor& tensor : state_slice) step.state.push_back(options.gradients ? tensor.clone(stream) : tensor);

    // The next wave's inputs are this wave's outputs one slot on, with new embeddings in slot 0: where the two ranges
    // touch they share a buffer, and nothing is moved.
    Slots out;
    const Wave* next = w + 1 < plan.waves.size() ? &plan.waves[w + 1] : nullptr;
    const bool touches = next != nullptr && next->lo <= wave.hi + 1 && next->hi >= wave.lo + 1;
    if (options.gradients) {
      out = touches ? new_slots(std::min(next->lo, wave.lo + 1), std::max(next->hi, wave.hi + 1))
                    : new_slots(wave.lo + 1, wave.hi + 1);
    } else {
      out = spare.data.defined() ? spare : new_slots(0, layers + 1);
    }
    const bool recorded = options.gradients && options.activations == Activations::kKeep;
    run_blocks(step, state_slice, out.view(wave.lo + 1, wave.hi + 1), recorded);

    if (wave.hi == layers) {
      const Chosen& rows = chosen[static_cast<std::size_t>(wave.item_of(layers - 1))];
      if (!rows.row.empty()) {
        const auto count = static_cast<std::int64_t>(rows.row.size());
        step.chosen = index_tensor(stream, rows.row);
        step.chosen_at = static_cast<std::int64_t>(order_.size());
        order_.insert(order_.end(), rows.index.begin(), rows.index.end());
        const Tensor values = Tensor::empty(stream, {count, d}, model_.dtype());
        kernels::gather_rows(stream, out.view(layers, layers + 1), step.chosen, values);
        kernels::put_rows(stream, values, index_tensor(stream, rows.index), hidden);
      }
    }
    if (options.gradients) {
      std::uint64_t bytes = step.record.saved_bytes();
      if (!recorded) {
        bytes = step.x.bytes();
        for (const Tensor& tensor : step.state) bytes += tensor.bytes();
        step.input = step.output = {};
        step.state_in.clear();
        step.state_out.clear();
      }
      saved_bytes_.push_back(bytes);
      tape_.push_back(std::move(step));
      in = out;
    } else {
      spare = in.data.dim(0) == layers + 1 ? in : Slots{};
      in = out;
    }
  }
  return hidden;
}

void Executor::backward(const Tensor& dhidden) {
  WT_CHECK(options_.gradients && saved_bytes_.size() == tape_.size(), "backward without a forward that kept a tape");
  const Stream& stream = model_.stream();
  const int layers = model_.num_layers();
  const std::int64_t b = grid_.batch, d = model_.config().hidden_size;
  dstate_ = model_.recurrent() ? model_.new_state(b) : State{};

  Slots later;  // gradient of the later wave's input
  for (std::size_t w = tape_.size(); w-- > 0;) {
    Step& step = tape_[w];
    const WaveErrorContext error_context(w, step.wave);
    const int lo = step.wave.lo + 1, hi = step.wave.hi + 1;  // slots of this wave's outputs
    Tensor dy;
    if (hi <= layers) {
      WT_CHECK(later.holds(lo, hi), "gradient of slots [", lo, ",", hi, ") is missing");
      dy = later.view(lo, hi);
    } else {
      dy = Tensor::empty(stream, {hi - lo, b, rows_, d}, model_.dtype());
      if (hi - 1 > lo) dy.slice(0, hi - 1 - lo).copy_from(stream, later.view(lo, hi - 1));
      const Tensor top = dy.slice(hi - 1 - lo, hi - lo);
      top.fill_zero(stream);
      if (step.chosen.defined()) {
        const auto begin = order_.begin() + step.chosen_at;
        const Tensor values = Tensor::empty(stream, {step.chosen.numel(), d}, model_.dtype());
        kernels::gather_rows(stream, dhidden, index_tensor(stream, {begin, begin + step.chosen.numel()}), values);
        kernels::scatter_add_rows(stream, values, step.chosen, top);
      }
    }
    backward_wave(step, dy);
    const Tensor dx = step.record.grad(step.input);
    WT_CHECK(dx.defined(), "no gradient reached the wave's input");
    later = {dx, step.wave.lo};
    if (step.wave.lo == 0) {
      step.embedding.set_grad(step.embedded, dx.select(0));
      step.embedding.backward(stream);
    }
    step = Step{};  // the wave's memory goes back before the next one's gradients need it
  }
  tape_.clear();
  dstate_.clear();
}

void Executor::backward_wave(Step& step, const Tensor& dy) {
  const Stream& stream = model_.stream();
  if (options_.activations == Activations::kRecompute) {
    State scratch;
    for (const Tensor& tensor : step.state) scratch.push_back(Tensor::empty(stream, tensor.shape(), tensor.dtype()));
    const Tensor out = Tensor::empty(stream, dy.shape(), dy.dtype());
    run_blocks(step, scratch, out, true);
  }
  step.record.set_grad(step.output, dy);
  State dstate;
  for (std::size_t i = 0; i < step.state_out.size(); ++i) {
    dstate.push_back(dstate_[i].slice(step.wave.lo, step.wave.hi));
    step.record.set_grad(step.state_out[i], dstate.back());
  }
  step.record.backward(stream);
  for (std::size_t i = 0; i < step.state_in.size(); ++i) {
    const Tensor grad = step.record.grad(step.state_in[i]);
    if (!grad.defined()) {
      dstate[i].fill_zero(stream);
    } else if (grad.raw() != dstate[i].raw()) {
      dstate[i].copy_from(stream, grad);
    }
  }
  zero_cells(step, dstate_, true);
}

double Executor::min_denominator() const {
  return min_den_.defined() ? min_den_.to_cpu(model_.stream()).to(Stream{}, DType::kF64).data<double>()[0]
                            : std::numeric_limits<double>::infinity();
}

}  // namespace wt
