#include "schedulers/executor.h"

#include <algorithm>

#include "core/memory.h"
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

void Executor::run_layers(Step& step, const std::vector<Tensor>& state_out, const Tensor& out, bool recorded) {
  Context ctx{model_.stream(), recorded ? &step.record : nullptr, options_.training, step.wave.lo, step.wave.hi};
  const auto leaf = [&](const Tensor& tensor) { return recorded ? step.record.leaf(tensor) : Var(tensor); };
  step.input = leaf(step.x);
  step.state_in.clear();
  for (std::size_t i = 0; i < step.state.size(); ++i) {
    const Tensor& tensor = step.state[i];
    step.state_in.push_back(tensor.defined() && state_.specs()[i].gradient ? leaf(tensor) : Var(tensor));
  }
  Model::WaveOutput output = model_.forward(ctx, step.cells, step.input, step.state_in, state_out, out);
  step.output = std::move(output.y);
  step.state_out = std::move(output.state);
}

Tensor Executor::forward(const Work& work, State& state, const ExecutorOptions& options) {
  const SegmentGrid& grid = work.grid;
  const Plan& plan = work.plan;
  WT_CHECK(plan.layers == model_.num_layers() && plan.items == grid.items(), "the plan is for ", plan.layers,
           " layers and ", plan.items, " segments, the model has ", model_.num_layers(), " and the batch ",
           grid.items());
  check_plan(plan);
  if (model_.one_after_another()) check_one_after_another(plan);
  WT_CHECK(options.gradients || !options.training, "dropout belongs to a forward with gradients");
  WT_CHECK(!options.gradients || options.kept.empty(), "states are kept by a forward without gradients only");
  const Stream& stream = model_.stream();
  const int layers = plan.layers;
  const std::int64_t b = grid.batch, d = model_.config().hidden_size;
  options_ = options;
  grid_ = grid;
  // What backward comes back for must stay where it is; without it every text of a lane begins anew.
  if (options.gradients) grid_.lay_out(model_.layout());
  if (model_.state_grows()) {
    const std::int64_t reserved = grid_.reserved(model_.layout());
    WT_CHECK(reserved <= INT32_MAX, "texts of ", reserved, " rows: a cache of keys and values holds at most ",
             INT32_MAX);
    state.reserve(reserved);
  }
  rows_ = model_.layout().rows(grid.longest());
  WT_CHECK(model_.max_segment_tokens() == 0 || grid.longest() <= model_.max_segment_tokens(), "a segment has ",
           grid.longest(), " tokens, the model reads at most ", model_.max_segment_tokens());
  tape_.clear();
  saved_bytes_.clear();
  dstate_ = {};
  state_ = state;
  min_den_ = Tensor::from<double>({1}, {std::numeric_limits<double>::infinity()}).to(stream, wide(model_.dtype()));
  source_.emplace(model_, work.sequences, grid_, rows_, state);
  sink_.emplace(model_, grid_, work.places, rows_, state);
  const auto constants = model_.constants(rows_, false);

  if (!options.gradients) {
    Reader(model_, work, *source_, *sink_, sink_->chosen(), state, min_den_, constants, options.kept).run();
    return sink_->release_hidden();
  }
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
    step.cells = upload_cells(model_, make_cell_table(model_, grid_, wave), wave, b, options.training);
    step.cells.min_den = min_den_;
    step.cells.dropout = options.dropout;
    step.cells.constants = constants;
    if (wave.lo == 0) {
      step.source = EndRecord(step.cells, wave.lo, 0, true, options.training);
      source_->prepare(step.source, wave.item_of(0));
      source_->fill(step.source, in.view(0, 1));
    }
    step.x = in.view(wave.lo, wave.hi);
    zero_cells(grid, wave, state, 0);
    step.state = state.fork(wave.lo, wave.hi);

    // The next wave's inputs are this wave's outputs one slot on, with new ones from the source in slot 0: where the
    // two ranges touch they share a buffer, and nothing is moved.
    const Wave* next = w + 1 < plan.waves.size() ? &plan.waves[w + 1] : nullptr;
    const bool touches = next != nullptr && next->lo <= wave.hi + 1 && next->hi >= wave.lo + 1;
    Slots out = touches ? new_slots(std::min(next->lo, wave.lo + 1), std::max(next->hi, wave.hi + 1))
                        : new_slots(wave.lo + 1, wave.hi + 1);
    step.kept = keeps(plan, w);
    run_layers(step, state.slice(wave.lo, wave.hi), out.view(wave.lo + 1, wave.hi + 1), step.kept);
    if (wave.hi == layers) {
      step.sink = EndRecord(step.cells, wave.lo, layers - 1, true, options.training);
      sink_->take(step.sink, wave.item_of(layers - 1), out.view(layers, layers + 1));
    }

    std::uint64_t input = step.x.bytes();
    for (std::size_t i = 0; i < step.state.size(); ++i) {
      if (step.state[i].defined() && !state.specs()[i].grows()) input += step.state[i].bytes();
    }
    const auto cells = static_cast<std::uint64_t>(wave.size());
    input_per_cell_ = input / cells;
    const std::uint64_t bytes = step.kept ? step.record.saved_bytes() : input;
    if (step.kept) {
      bytes_per_cell_ = std::max(bytes_per_cell_, bytes / cells);
    } else {
      step.input = step.output = {};
      step.state_in.clear();
      step.state_out.clear();
    }
    saved_bytes_.push_back(bytes);
    tape_.push_back(std::move(step));
    in = out;
  }
  return sink_->release_hidden();
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
  dstate_ = state_.gradient();
  source_->begin_backward(dstate_, options_.k2);
  sink_->begin_backward(dhidden, dstate_);

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
      sink_->gradient(step.sink, dy.slice(hi - 1 - lo, hi - lo));
    }
    backward_wave(step, dy);
    const Tensor dx = step.record.grad(step.input);
    WT_CHECK(dx.defined(), "no gradient reached the wave's input");
    later = {dx, step.wave.lo};
    if (step.wave.lo == 0) source_->backward(step.source, step.wave.item_of(0), dx.slice(0, 1));
    step = Step{};  // the wave's memory goes back before the next one's gradients need it
  }
  tape_.clear();
  source_.reset();
  sink_.reset();
  state_ = {};
  if (!options_.state_gradient) dstate_ = {};
}

void Executor::backward_wave(Step& step, const Tensor& dy) {
  const Stream& stream = model_.stream();
  if (!step.kept) {
    std::vector<Tensor> scratch = step.state;  // rows are written again as they are
    for (std::size_t i = 0; i < scratch.size(); ++i) {
      Tensor& tensor = scratch[i];
      if (tensor.defined() && !state_.specs()[i].grows())
        tensor = Tensor::empty(stream, tensor.shape(), tensor.dtype());
    }
    const Tensor out = Tensor::empty(stream, dy.shape(), dy.dtype());
    run_layers(step, scratch, out, true);
  }
  step.record.set_grad(step.output, dy);
  const std::vector<Tensor> dstate = dstate_.slice(step.wave.lo, step.wave.hi);
  for (std::size_t i = 0; i < step.state_out.size(); ++i) {
    if (dstate[i].defined() && step.state_out[i].wants_grad()) step.record.set_grad(step.state_out[i], dstate[i]);
  }
  step.record.backward(stream);
  for (std::size_t i = 0; i < step.state_in.size(); ++i) {
    if (!dstate[i].defined()) continue;
    const Tensor grad = step.record.grad(step.state_in[i]);
    if (!grad.defined()) {
      dstate[i].fill_zero(stream);
    } else if (grad.raw() != dstate[i].raw()) {
      dstate[i].copy_from(stream, grad);
    }
  }
  zero_cells(grid_, step.wave, dstate_, options_.k2);
}

double Executor::min_denominator() const {
  return min_den_.defined() ? min_den_.to_cpu(model_.stream()).to(Stream{}, DType::kF64).data<double>()[0]
                            : std::numeric_limits<double>::infinity();
}

}  // namespace wt
