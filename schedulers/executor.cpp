#include "schedulers/executor.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "kernels/rows.h"
#include "schedulers/reader.h"

namespace wt {
namespace {

// Hidden states of neighbouring slots: slot l is the input of layer l, slot L the output of the last layer.
struct Slots {
  Tensor data;
  int first = 0;
  bool holds(int lo, int hi) const { return data.defined() && lo >= first && hi <= first + data.dim(0); }
  Tensor view(int lo, int hi) const { return data.slice(lo - first, hi - first); }
};

}  // namespace

void Executor::run_blocks(Step& step, const State& state_out, const Tensor& out, bool recorded) {
  Context ctx{model_.stream(), recorded ? &step.record : nullptr, options_.training, step.wave.lo, step.wave.hi};
  step.input = recorded ? step.record.leaf(step.x) : Var(step.x);
  step.state_in.clear();
  for (const Tensor& tensor : step.state) step.state_in.push_back(recorded ? step.record.leaf(tensor) : Var(tensor));
  Model::WaveOutput output = model_.forward(ctx, step.cells, step.input, step.state_in, state_out, out);
  step.output = std::move(output.y);
  step.state_out = std::move(output.state);
  if (model_.carries_rows() && step.wave.hi == model_.num_layers()) {
    step.carry_out = model_.carry(ctx, step.cells, step.output);
  }
}

Tensor Executor::forward(const std::vector<std::vector<std::int32_t>>& sequences, const SegmentGrid& grid,
                         const Plan& plan, const std::vector<TokenPlace>& places, State& state,
                         const ExecutorOptions& options) {
  WT_CHECK(plan.layers == model_.num_layers() && plan.items == grid.items(), "the plan is for ", plan.layers,
           " layers and ", plan.items, " segments, the model has ", model_.num_layers(), " and the batch ",
           grid.items());
  check_plan(plan);
  if (model_.carries_rows()) check_one_after_another(plan);
  WT_CHECK(options.gradients || !options.training, "dropout belongs to a forward with gradients");
  WT_CHECK(!options.gradients || options.kept.empty(), "states are kept by a forward without gradients only");
  const Stream& stream = model_.stream();
  const int layers = plan.layers;
  const std::int64_t b = grid.batch, d = model_.config().hidden_size;
  options_ = options;
  grid_ = grid;
  rows_ = grid.longest() + model_.memory_rows();
  WT_CHECK(model_.max_segment_tokens() == 0 || grid.longest() <= model_.max_segment_tokens(), "a segment has ",
           grid.longest(), " tokens, the model reads at most ", model_.max_segment_tokens());
  tape_.clear();
  order_.clear();
  saved_bytes_.clear();
  dstate_.clear();
  min_den_ = Tensor::from<double>({1}, {std::numeric_limits<double>::infinity()}).to(stream, wide(model_.dtype()));
  const std::vector<Chosen> chosen = sort_places(grid, places, rows_, model_.first_token_row());
  const Tensor hidden = Tensor::empty(stream, {static_cast<std::int64_t>(places.size()), d}, model_.dtype());

  if (!options.gradients) {
    Reader(model_, sequences, grid, plan, chosen, state, hidden, min_den_, options.kept).run();
    return hidden;
  }
  const State layer_state = model_.layer_state(state);
  const auto new_slots = [&](int lo, int hi) {
    return Slots{Tensor::empty(stream, {hi - lo, b, rows_, d}, model_.dtype()), lo};
  };
  capacity_ = options.activations == Activations::kAuto ? memory_capacity(stream.device()) : 0;
  bytes_per_cell_ = input_per_cell_ = 0;
  Slots in;
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    if (options.before_wave) options.before_wave();
    const Wave& wave = plan.waves[w];
    const WaveErrorContext error_context(w, wave);
    if (!in.holds(wave.lo, wave.hi)) in = new_slots(wave.lo, wave.hi);

    Step step;
    step.wave = wave;
    step.cells = upload_cells(make_cell_table(model_, grid, wave), stream, b, options.training);
    step.cells.min_den = min_den_;
    step.cells.dropout = options.dropout;
    if (wave.lo == 0) {
      Context ctx{stream, &step.embedding, options.training, 0, 1};
      WaveCells first = step.cells;
      if (first.number.defined()) first.number = first.number.slice(0, 1);
      const Tensor rows = input_rows(model_, grid, wave.item_of(0), sequences, rows_);
      if (model_.carries_rows()) step.carry_in = step.embedding.leaf(state[0]);
      step.embedded =
          model_.embed(ctx, first, model_.embedding_rows(rows, {}).to(stream), in.view(0, 1).select(0), step.carry_in);
    }
    step.x = in.view(wave.lo, wave.hi);
    zero_cells(grid, wave, layer_state, 0, stream);
    State state_slice;
    for (const Tensor& tensor : layer_state) state_slice.push_back(tensor.slice(wave.lo, wave.hi));
    for (const Tensor& tensor : state_slice) step.state.push_back(tensor.clone(stream));

    // The next wave's inputs are this wave's outputs one slot on, with new embeddings in slot 0: where the two ranges
    // touch they share a buffer, and nothing is moved.
    const Wave* next = w + 1 < plan.waves.size() ? &plan.waves[w + 1] : nullptr;
    const bool touches = next != nullptr && next->lo <= wave.hi + 1 && next->hi >= wave.lo + 1;
    Slots out = touches ? new_slots(std::min(next->lo, wave.lo + 1), std::max(next->hi, wave.hi + 1))
                        : new_slots(wave.lo + 1, wave.hi + 1);
    step.kept = keeps(plan, w);
    run_blocks(step, state_slice, out.view(wave.lo + 1, wave.hi + 1), step.kept);

    if (step.carry_out.value.defined()) {
      put_carried(model_, grid, wave.item_of(layers - 1), step.carry_out.value, state);
    }
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
    std::uint64_t input = step.x.bytes();
    for (const Tensor& tensor : step.state) input += tensor.bytes();
    const auto cells = static_cast<std::uint64_t>(wave.size());
    input_per_cell_ = input / cells;
    const std::uint64_t bytes = step.kept ? step.record.saved_bytes() : input;
    if (step.kept) {
      bytes_per_cell_ = std::max(bytes_per_cell_, bytes / cells);
    } else {
      step.input = step.output = step.carry_out = {};
      step.state_in.clear();
      step.state_out.clear();
    }
    saved_bytes_.push_back(bytes);
    tape_.push_back(std::move(step));
    in = out;
  }
  return hidden;
}

// Whether wave w keeps its record. With kAuto: while, after it, every later wave still has room for its input and
// state, and the backward of one full wave for what it runs again and for its gradients.
bool Executor::keeps(const Plan& plan, std::size_t w) const {
  if (options_.activations != Activations::kAuto) return options_.activations == Activations::kKeep;
  const auto layers = static_cast<std::uint64_t>(plan.layers);
  std::uint64_t later = 0;
  for (std::size_t v = w + 1; v < plan.waves.size(); ++v) later += static_cast<std::uint64_t>(plan.waves[v].size());
  const std::uint64_t wanted = static_cast<std::uint64_t>(plan.waves[w].size()) * bytes_per_cell_ +
                               later * input_per_cell_ + 3 * layers * bytes_per_cell_ + capacity_ / 16;
  return memory_use(model_.stream().device()).current + wanted <= capacity_;
}

void Executor::backward(const Tensor& dhidden) {
  WT_CHECK(options_.gradients && saved_bytes_.size() == tape_.size(), "backward without a forward that kept a tape");
  const Stream& stream = model_.stream();
  const int layers = model_.num_layers();
  const std::int64_t b = grid_.batch, d = model_.config().hidden_size;
  dstate_ = model_.layer_state(model_.new_state(b));
  dcarry_ = {};

  Slots later;  // gradient of the later wave's input
  for (std::size_t w = tape_.size(); w-- > 0;) {
    if (options_.before_wave) options_.before_wave();
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
      dcarry_ = step.embedding.grad(step.carry_in);
      // The first segments start from the learned rows, of which this gradient has none.
      if (dcarry_.defined() && options_.k2 > 0) {
        for (int sample = 0; sample < grid_.batch; ++sample) {
          const SegmentCell& cell = grid_.at(step.wave.item_of(0), sample);
          if (cell.active() && cell.index % options_.k2 == 0) dcarry_.select(0).select(sample).fill_zero(stream);
        }
      }
    }
    step = Step{};  // the wave's memory goes back before the next one's gradients need it
  }
  tape_.clear();
  dstate_.clear();
}

void Executor::backward_wave(Step& step, const Tensor& dy) {
  const Stream& stream = model_.stream();
  if (!step.kept) {
    State scratch;
    for (const Tensor& tensor : step.state) scratch.push_back(Tensor::empty(stream, tensor.shape(), tensor.dtype()));
    const Tensor out = Tensor::empty(stream, dy.shape(), dy.dtype());
    run_blocks(step, scratch, out, true);
  }
  step.record.set_grad(step.output, dy);
  // What the next segment's input wanted of this one's memory rows. Samples that end here have none there.
  if (step.carry_out.wants_grad() && dcarry_.defined()) step.record.set_grad(step.carry_out, dcarry_);
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
  zero_cells(grid_, step.wave, dstate_, options_.k2, stream);
}

double Executor::min_denominator() const {
  return min_den_.defined() ? min_den_.to_cpu(model_.stream()).to(Stream{}, DType::kF64).data<double>()[0]
                            : std::numeric_limits<double>::infinity();
}

}  // namespace wt
