#include "schedulers/ends.h"

#include "kernels/rows.h"

namespace wt {

EndRecord::EndRecord(const WaveCells& wave, int lo, int layer, bool is_recorded, bool is_training)
    : recorded(is_recorded), training(is_training), cells(wave.slice(layer - lo, layer - lo + 1)) {}

TokenSource::TokenSource(const Model& model, const TokenSequences& sequences, const SegmentGrid& grid,
                         std::int64_t rows, const State& state)
    : model_(model), sequences_(sequences), grid_(grid), rows_(rows), state_(state) {}

void TokenSource::prepare(EndRecord& record, int item) {
  std::vector<SampleRows> samples(static_cast<std::size_t>(grid_.batch));
  for (int b = 0; b < grid_.batch; ++b) {
    const SegmentCell& cell = grid_.at(item, b);
    if (!cell.active()) continue;
    const std::vector<std::int32_t>& ids = sequences_[static_cast<std::size_t>(cell.sequence)];
    SampleRows& of = samples[static_cast<std::size_t>(b)];
    of.before = of.after = true;
    of.tokens = std::span(ids).subspan(static_cast<std::size_t>(cell.begin), static_cast<std::size_t>(cell.length));
    of.carried = model_.one_after_another() && !cell.first();
    check_tokens(model_, of.tokens);
  }
  const EmbeddingRows rows = model_.layout().embedding_rows(samples, rows_);
  if (record.rows.rows.defined()) {
    record.rows.copy_from(model_.stream(), rows);
  } else {
    record.rows = rows.to(model_.stream());
  }
}

void TokenSource::fill(EndRecord& record, const Tensor& slot) {
  Context ctx{model_.stream(), record.recorded ? &record.record : nullptr, record.training, 0, 1};
  if (const auto own = model_.own_state()) {
    record.carried = record.recorded ? record.record.leaf(state_[*own]) : Var(state_[*own]);
  }
  record.out = model_.embed(ctx, record.cells, record.rows, slot.select(0), record.carried);
}

void TokenSource::begin_backward(const State& dstate, int k2) {
  dstate_ = dstate;
  k2_ = k2;
}

void TokenSource::backward(EndRecord& record, int item, const Tensor& dslot) {
  record.record.set_grad(record.out, dslot.select(0));
  record.record.backward(model_.stream());
  const auto own = model_.own_state();
  if (!own) return;
  const Tensor grad = record.record.grad(record.carried);
  if (grad.defined()) {
    dstate_[*own].copy_from(model_.stream(), grad);
  } else {
    dstate_[*own].fill_zero(model_.stream());
  }
  for (int b = 0; b < grid_.batch; ++b) {
    if (is_cut(grid_.at(item, b), k2_)) dstate_.zero(State::kOwn, b);
  }
}

RowSink::RowSink(const Model& model, const SegmentGrid& grid, const std::vector<TokenPlace>& places, std::int64_t rows,
                 const State& state)
    : model_(model),
      grid_(grid),
      chosen_(sort_places(grid, places, rows, model.layout().row_of(0))),
      hidden_(Tensor::empty(model.stream(), {static_cast<std::int64_t>(places.size()), model.config().hidden_size},
                            model.dtype())),
      state_(state) {}

void RowSink::take(EndRecord& record, int item, const Tensor& slot) {
  const Stream& stream = model_.stream();
  if (const auto own = model_.own_state()) {
    Context ctx{stream, record.recorded ? &record.record : nullptr, record.training, 0, 1};
    const Var y = record.recorded ? record.record.leaf(slot) : Var(slot);
    record.in = y.id;
    record.out = model_.carry(ctx, record.cells, y);
    for (int b = 0; b < grid_.batch; ++b) {
      if (!grid_.at(item, b).active()) continue;
      state_[*own].select(0).select(b).copy_from(stream, record.out.value.select(0).select(b));
    }
  }
  const Chosen& rows = chosen_[static_cast<std::size_t>(item)];
  if (rows.row.empty()) return;
  const Tensor index = index_tensor(stream, rows.row);
  const Tensor values = Tensor::empty(stream, {index.numel(), hidden_.dim(1)}, hidden_.dtype());
  kernels::gather_rows(stream, slot, index, values);
  kernels::put_rows(stream, values, index_tensor(stream, rows.index), hidden_);
  if (!record.recorded) return;
  record.chosen = index;
  record.chosen_at = static_cast<std::int64_t>(order_.size());
  order_.insert(order_.end(), rows.index.begin(), rows.index.end());
}

void RowSink::begin_backward(const Tensor& dhidden, const State& dstate) {
  dhidden_ = dhidden;
  dstate_ = dstate;
}

void RowSink::gradient(EndRecord& record, const Tensor& dslot) {
  const Stream& stream = model_.stream();
  dslot.fill_zero(stream);
  if (record.chosen.defined()) {
    const auto begin = order_.begin() + record.chosen_at;
    const Tensor values = Tensor::empty(stream, {record.chosen.numel(), dhidden_.dim(1)}, dhidden_.dtype());
    kernels::gather_rows(stream, dhidden_, index_tensor(stream, {begin, begin + record.chosen.numel()}), values);
    kernels::scatter_add_rows(stream, values, record.chosen, dslot);
  }
  const auto own = model_.own_state();
  if (!own) return;
  // What the next segment's input wanted of this one's rows, added to the slot's gradient in place.
  record.record.set_grad(Var(dslot, record.in), dslot);
  record.record.set_grad(record.out, dstate_[*own]);
  record.record.backward(stream);
}

}  // namespace wt
