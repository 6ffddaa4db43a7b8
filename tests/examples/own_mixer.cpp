// A mixer of one's own: every row is mixed with the one before it, across segments. The class Shift is all that a mixer
// is; the operation above it is like tests/examples/own_op.cpp. Beside attention, with ARMT's memory around both, it
// runs on every schedule and decodes token by token: the program checks both.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "layers/builder.h"
#include "layers/families/family.h"
#include "layers/linear.h"
#include "schedulers/decoder.h"
#include "schedulers/language_model.h"

namespace {

using wt::Context;
using wt::Tensor;
using wt::Var;
using wt::WaveCells;

// y_t = x_{t-1}, y_0 = the last row of the segment before; x_GBTD, last_GB1D.
struct Shifted {
  Var y, last;
};
struct Saved {
  std::vector<std::int32_t> rows;
  Tensor x;
  int x_id, last_id, y_id, next_id;
  std::vector<Tensor> tensors() const { return {}; }
};

void shift_backward(wt::BackwardPass& pass, const Saved& s) {
  const Tensor dy = pass.take(s.y_id), dnext = pass.take(s.next_id);
  const std::int64_t t = s.x.dim(2), d = s.x.dim(3);
  const auto [dx, mode] = pass.slot(s.x_id, s.x);
  const Tensor dlast = Tensor::zeros(pass.stream(), {s.x.dim(0), s.x.dim(1), 1, d}, s.x.dtype());
  if (mode == wt::GradMode::kOverwrite) dx.fill_zero(pass.stream());
  for (std::size_t cell = 0; cell < s.rows.size(); ++cell) {
    const auto c = static_cast<std::int64_t>(cell), rows = std::int64_t{s.rows[cell]};
    const auto add = [&](const Tensor& to, std::int64_t row, const Tensor& from, std::int64_t at) {
      for (std::int64_t i = 0; i < d && from.defined(); ++i) {
        to.data<double>()[row * d + i] += from.data<double>()[at * d + i];
      }
    };
    if (rows == 0) {
      add(dlast, c, dnext, c);
      continue;
    }
    add(dlast, c, dy, c * t);
    for (std::int64_t row = 1; row < rows; ++row) add(dx, c * t + row - 1, dy, c * t + row);
    add(dx, c * t + rows - 1, dnext, c);
  }
  pass.pass(s.last_id, dlast);
}

Shifted shift(Context& ctx, const WaveCells& cells, const Var& x, const Var& last, const Tensor& next) {
  const std::int64_t t = x.value.dim(2), d = x.value.dim(3);
  const Tensor y = Tensor::zeros(ctx.stream, x.value.shape(), x.value.dtype());
  for (std::size_t cell = 0; cell < cells.lengths.size(); ++cell) {
    const auto c = static_cast<std::int64_t>(cell), rows = std::int64_t{cells.lengths[cell]};
    const auto row = [&](const Tensor& of, std::int64_t at) { return of.data<double>() + at * d; };
    std::copy_n(row(last.value, c), d, row(y, c * t));
    for (std::int64_t r = 1; r < rows; ++r) std::copy_n(row(x.value, c * t + r - 1), d, row(y, c * t + r));
    std::copy_n(rows > 0 ? row(x.value, c * t + rows - 1) : row(last.value, c), d, row(next, c));
  }
  if (!ctx.recording()) return {y, next};
  const Shifted out{ctx.record->output(y, true), ctx.record->output(next, true)};
  ctx.record->record("shift", Saved{cells.lengths, x.value, x.id, last.id, out.y.id, out.last.id}, shift_backward);
  return out;
}

class Shift final : public wt::Mixer {
 public:
  explicit Shift(const wt::Builder& builder)
      : width_(builder.config().hidden_size),
        dtype_(builder.store().dtype()),
        out_(builder, {.key = "shift.out",
                       .parts = {{"shift.out_proj", width_}},
                       .inputs = width_,
                       .init = wt::Init::normal(builder.config().init_std),
                       .site = wt::DropoutSite::kMixerOut}) {}
  // What a layer and sample carries to the next segment: a row.
  std::vector<wt::StateSpec> state_specs() const override {
    return {{.name = "last.{l}", .shape = {1, width_}, .dtype = dtype_}};
  }
  Output forward(Context& ctx, const WaveCells& cells, const wt::Normed& x, const Var* residual,
                 const std::vector<Var>& state_in, const std::vector<Tensor>& state_out,
                 const Tensor& out) const override {
    const Shifted shifted = shift(ctx, cells, x.applied(ctx), state_in[0], state_out[0]);
    return {out_.back(ctx, cells, shifted.y, residual, wt::DropoutSite::kMixer, out), {shifted.last}};
  }
  // Of a cell: operations of the product, and elements kept for backward.
  wt::Cost cost(std::int64_t rows, std::int64_t /*past*/) const override {
    return {2.0 * static_cast<double>(rows * width_ * width_), 2 * rows * width_};
  }

 private:
  std::int64_t width_;
  wt::DType dtype_;
  wt::Linear out_;  // matrix, adapter, dropout
};

wt::ModelConfig own_config() {
  wt::ModelConfig config = wt::new_config("hybrid");
  config.vocab_size = 13;
  config.hidden_size = 8;
  config.feed_forward.intermediate_size = 12;
  config.num_layers = 4;
  config.armt = {.segment_size = 5, .num_mem_tokens = 2, .d_mem = 4};
  wt::AttentionConfig attention;
  attention.num_heads = 2;
  config.kinds = {
      {"attention", attention, {1, 2}},
      {"shift",
       wt::CustomMixer{"shift", [](const wt::Builder& builder) { return std::make_unique<Shift>(builder); }},
       {}}};
  return config;
}

double difference(const Tensor& a, const Tensor& b) {
  double worst = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    worst = std::max(worst, std::abs(a.data<double>()[i] - b.data<double>()[i]));
  }
  return worst;
}

}  // namespace

int main() {
  wt::Model model(own_config(), wt::DType::kF64);
  model.parameters().initialize(1);
  for (const wt::PublishedTensor& tensor :
       model.parameters().published()) {  // large enough to matter, the memory's too
    for (std::int64_t i = 0; i < tensor.value.numel(); ++i) {
      tensor.value.data<double>()[i] += 0.3 * std::sin(1.7 * static_cast<double>(i + 1));
    }
  }
  std::vector<std::int32_t> text;
  for (int i = 0; i < 23; ++i) text.push_back((i * i + 3 * i) % 13);
  wt::TokenBatch batch;
  batch.batch = 1;
  batch.add(text, std::vector<std::uint8_t>(text.size(), 1));

  // Waves of two kinds of layers, and one cell at a time.
  std::vector<std::vector<Tensor>> gradients;
  for (const wt::Schedule schedule : {wt::Schedule::kSequential, wt::Schedule::kDiagonal}) {
    wt::Executor executor(model);
    wt::ExecutorOptions options;
    options.gradients = true;
    wt::State state = model.new_state(1);
    model.parameters().zero_grad();
    const wt::LossResult loss = wt::run_language_model(executor, model, batch, schedule, options, 1.0, state);
    std::printf("%s: loss %.6f\n", std::string(wt::name_of(schedule)).c_str(), loss.mean());
    gradients.emplace_back();
    for (const auto& tensor : model.parameters().published()) gradients.back().push_back(tensor.grad.clone({}));
  }
  double worst = 0;
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    worst = std::max(worst, difference(gradients[0][i], gradients[1][i]));
  }

  // The open segment, token by token, behind the closed ones.
  wt::State state = model.new_state(1);
  wt::Executor executor(model);
  const std::vector<std::int32_t> closed(text.begin(), text.begin() + 20), open(text.begin() + 20, text.end());
  executor.forward(wt::Work(model, {closed}, 1, wt::Schedule::kDiagonal), state, {});
  wt::Decoder decoder(model, state, {model.closed_rows(20)}, 8);
  Tensor last;
  for (const std::int32_t id : open) last = decoder.append({{id}});
  wt::State whole = model.new_state(1);
  const Tensor wanted = executor.forward(wt::Work(model, {text}, 1, wt::Schedule::kDiagonal, {{0, 22}}), whole, {});
  const double decoding = difference(last, wanted);
  std::printf("gradients differ by %.1e, decoding by %.1e\n", worst, decoding);
  return worst < 1e-10 && decoding < 1e-12 ? 0 : 1;
}
