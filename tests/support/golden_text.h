// What the golden files of models whose layers carry a text's state (mamba2_tiny, bamba_tiny) must show on any device,
// cut into segments of any size.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "schedulers/decoder.h"
#include "schedulers/language_model.h"
#include "schedulers/reading.h"
#include "tests/support/golden.h"
#include "tests/support/tolerances.h"

namespace wt {

struct TextCase {
  std::string file;
  int length;
  std::int64_t segment;
  DType dtype;
  Schedule schedule = Schedule::kDiagonal;
  Activations activations = Activations::kKeep;
};

inline void PrintTo(const TextCase& c, std::ostream* out) {
  *out << c.file << " " << c.length << " by " << c.segment << " " << name_of(c.dtype);
}

inline std::string text_case_name(const testing::TestParamInfo<TextCase>& info) {
  const TextCase& c = info.param;
  return c.file + "_" + std::to_string(c.length) + "_by_" + std::to_string(c.segment) + "_" +
         std::string(name_of(c.dtype));
}

// Segments of 1, of less than the convolution sees, around a chunk of the published code, and the whole text.
inline std::vector<TextCase> text_cases(const std::vector<DType>& dtypes) {
  std::vector<TextCase> cases;
  for (const char* file : {"mamba2_tiny", "bamba_tiny"}) {
    for (const int length : {5, 16, 37}) {
      for (const std::int64_t segment : {1, 2, 7, 8, 16, 37}) {
        for (const DType dtype : dtypes)
          cases.push_back({.file = file, .length = length, .segment = segment, .dtype = dtype});
      }
    }
  }
  return cases;
}

// On these schedules, with activations kept and computed again.
inline void each_way(TextCase c, const std::vector<Schedule>& schedules,
                     const std::function<void(const TextCase&)>& check) {
  for (const Schedule schedule : schedules) {
    for (const Activations activations : {Activations::kKeep, Activations::kRecompute}) {
      SCOPED_TRACE(cat(name_of(schedule), activations == Activations::kKeep ? " keep" : " recompute"));
      c.schedule = schedule;
      c.activations = activations;
      check(c);
    }
  }
}

struct TextTolerance {
  explicit TextTolerance(DType dtype)
      : value(dtype == DType::kF64 ? kGoldenF64 : kGoldenLogitsF32),
        gradient(dtype == DType::kF64 ? kGoldenF64 : kGoldenGradientF32) {}
  double value, gradient;
};

inline std::vector<TokenPlace> all_places(const TokenSequences& sequences) {
  std::vector<TokenPlace> places;
  for (std::size_t q = 0; q < sequences.size(); ++q) {
    for (std::size_t t = 0; t < sequences[q].size(); ++t) {
      places.push_back({static_cast<std::int32_t>(q), static_cast<std::int64_t>(t)});
    }
  }
  return places;
}

inline double logits_error(const Model& model, const Tensor& hidden, const std::vector<double>& expected) {
  double error = 0;
  std::size_t compared = 0;
  visit_logits(model, hidden, [&](std::int64_t first, const Tensor& logits) {
    const auto values = logits.to_cpu(model.stream()).to(Stream{}, DType::kF64).to_vector<double>();
    const auto begin = static_cast<std::size_t>(first * logits.dim(1));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double difference = std::abs(values[i] - expected.at(begin + i));
      if (!(difference <= error)) error = difference;  // NaN stays
    }
    compared += values.size();
  });
  EXPECT_EQ(compared, expected.size());
  return error;
}

// Compares the state after a text with the file's under `key`, layer by layer.
inline void expect_golden_state(const GoldenModel& golden, const State& state, std::int64_t rows,
                                const std::string& key, double tolerance) {
  std::map<std::string, std::vector<double>> values;  // of all samples, as the file has them
  for (int b = 0; b < state.batch(); ++b) {
    for (const auto& [name, tensor] : state.published(b, rows)) {
      const Tensor own = tensor.to_cpu(golden.model->stream()).to(Stream{}, DType::kF64);
      const auto flat = own.to_vector<double>();
      std::vector<double>& all = values[name];
      if (!name.starts_with("key.") && !name.starts_with("value.")) {
        all.insert(all.end(), flat.begin(), flat.end());
        continue;
      }
      const std::int64_t n = own.dim(0), heads = own.dim(1), width = own.dim(2);
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t row = 0; row < n; ++row) {
          const auto from = flat.begin() + (row * heads + h) * width;
          all.insert(all.end(), from, from + width);
        }
      }
    }
  }
  int compared = 0;
  for (const auto& [name, all] : values) {
    if (!golden.file.contains(key + name)) continue;  // the cuts' files hold the scan's states alone
    const std::vector<double> expected = golden.expected(key + name);
    double difference = 0, norm = 0;
    ASSERT_EQ(all.size(), expected.size()) << name;
    for (std::size_t i = 0; i < all.size(); ++i) {
      difference += (all[i] - expected[i]) * (all[i] - expected[i]);
      norm += expected[i] * expected[i];
    }
    EXPECT_LT(std::sqrt(difference / norm), tolerance) << key << name;
    ++compared;
  }
  EXPECT_GE(compared, 4) << key;
}

inline void expect_golden_gradients(const GoldenModel& golden, const std::string& key, double tolerance) {
  int compared = 0;
  for (const PublishedTensor& tensor : golden.model->parameters().published()) {
    ASSERT_TRUE(tensor.grad.defined()) << tensor.name;
    const std::optional<std::vector<double>> grad = golden.gradient(key, tensor.name);
    ASSERT_TRUE(grad) << tensor.name;
    EXPECT_LT(relative_error(tensor.grad.to_cpu(golden.model->stream()), *grad), tolerance) << tensor.name;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

inline void expect_golden_text(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  const Model& model = *golden.model;
  const TextTolerance tolerance(c.dtype);
  const std::string key = "len" + std::to_string(c.length) + ".";
  const TokenBatch batch = golden.batch(key);

  Executor executor(model);
  State state = model.new_state(batch.batch);
  const Tensor hidden =
      executor.forward(Work(model, batch.sequences, batch.batch, c.schedule, all_places(batch.sequences)), state, {});
  EXPECT_LT(logits_error(model, hidden, golden.expected(key + "logits")), tolerance.value);
  expect_golden_state(golden, state, c.length, key, tolerance.gradient);

  ExecutorOptions options;
  options.gradients = true;
  options.activations = c.activations;
  golden.model->parameters().zero_grad();
  State trained = model.new_state(batch.batch);
  const LossResult loss = run_language_model(executor, model, batch, c.schedule, options,
                                             1.0 / static_cast<double>(batch.num_targets()), trained);
  EXPECT_NEAR(loss.mean(), golden.expected(key + "loss")[0], tolerance.value);
  if (c.file == "bamba_tiny" && c.length == 5) return;  // has no gradients
  expect_golden_gradients(golden, key, tolerance.gradient);
}

// Read piece by piece to the file's cuts, the state handed on.
inline void expect_golden_cuts(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  const Model& model = *golden.model;
  const TextTolerance tolerance(c.dtype);
  const std::string key = "len" + std::to_string(c.length) + ".";
  const TokenBatch batch = golden.batch(key);
  int compared = 0;
  for (const std::int64_t cut : golden.meta.at("cuts").at(std::to_string(c.length))) {
    if (cut % c.segment != 0) continue;
    TokenSequences first;
    for (const auto& ids : batch.sequences) first.emplace_back(ids.begin(), ids.begin() + cut);
    State state = model.new_state(batch.batch);
    Executor(model).forward(Work(model, first, batch.batch, c.schedule), state, {});
    expect_golden_state(golden, state, cut, key + "cut" + std::to_string(cut) + ".", tolerance.gradient);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

// The gradient cut at every segment's border.
inline void expect_golden_cut_gradients(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  ASSERT_EQ(golden.meta.at("cut_segment").get<std::int64_t>(), c.segment);
  const TokenBatch batch = golden.batch("len37.");
  ExecutorOptions options;
  options.gradients = true;
  options.activations = c.activations;
  options.k2 = 1;
  golden.model->parameters().zero_grad();
  State state = golden.model->new_state(batch.batch);
  Executor executor(*golden.model);
  run_language_model(executor, *golden.model, batch, c.schedule, options,
                     1.0 / static_cast<double>(batch.num_targets()), state);
  expect_golden_gradients(golden, "len37.cut.", TextTolerance(c.dtype).gradient);
}

// From a state that was given, with the gradient that reaches it.
inline void expect_golden_from_state(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  const Model& model = *golden.model;
  const TextTolerance tolerance(c.dtype);
  const TokenBatch batch = golden.batch("len16.");
  State state = model.new_state(batch.batch);
  const auto each = [&](const State& of, const auto& visit) {
    for (std::size_t i = 0; i < of.specs().size(); ++i) {
      const StateSpec& spec = of.specs()[i];
      for (std::size_t at = 0; at < spec.layers.size() && !spec.grows(); ++at) {
        visit(name_of_layer(spec.name, spec.layers[at]), of[i].select(static_cast<std::int64_t>(at)));
      }
    }
  };
  each(state, [&](const std::string& name, const Tensor& value) {
    value.copy_from(stream, golden.file.tensor("len16.from." + name).to(Stream{}, value.dtype()));
  });
  std::vector<TokenPlace> places;
  for (const Target& target : batch.targets) places.push_back({target.sequence, target.position});
  Work work(model, batch.sequences, batch.batch, c.schedule, all_places(batch.sequences));
  for (SegmentCell& cell : work.grid.cells) ++cell.index;  // none is the first of its text
  ExecutorOptions options;
  options.gradients = true;
  options.activations = c.activations;
  options.state_gradient = true;
  Executor executor(model);
  const Tensor hidden = executor.forward(work, state, options);
  EXPECT_LT(logits_error(model, hidden, golden.expected("len16.from.logits")), tolerance.value);

  // The loss and its gradient at every row, by hand.
  const std::int64_t rows = hidden.dim(0), v = model.config().vocab_size, n = 16;
  WaveRecord record;
  Context ctx{stream, &record, false, 0, 1};
  const Var input = record.leaf(hidden);
  const Var logits = model.head(ctx, input);
  const std::vector<double> values = logits.value.to_cpu(stream).to(Stream{}, DType::kF64).to_vector<double>();
  std::vector<double> grad(values.size(), 0);
  double sum = 0;
  const auto count = static_cast<double>(batch.num_targets());
  for (const Target& target : batch.targets) {
    const auto at = static_cast<std::size_t>((target.sequence * n + target.position) * v);
    const double top = *std::max_element(values.begin() + static_cast<std::ptrdiff_t>(at),
                                         values.begin() + static_cast<std::ptrdiff_t>(at) + v);
    double total = 0;
    for (std::int64_t i = 0; i < v; ++i) total += std::exp(values[at + static_cast<std::size_t>(i)] - top);
    for (std::int64_t i = 0; i < v; ++i) {
      grad[at + static_cast<std::size_t>(i)] = std::exp(values[at + static_cast<std::size_t>(i)] - top) / total / count;
    }
    const std::size_t label = at + static_cast<std::size_t>(target.id);
    sum += top + std::log(total) - values[label];
    grad[label] -= 1 / count;
  }
  EXPECT_NEAR(sum / count, golden.expected("len16.from.loss")[0], tolerance.value);
  record.set_grad(logits, Tensor::from<double>({rows, v}, grad).to(stream, logits.value.dtype()));
  record.backward(stream);
  executor.backward(record.grad(input).reshape(hidden.shape()));
  int compared = 0;
  each(executor.state_gradient(), [&](const std::string& name, const Tensor& value) {
    EXPECT_LT(relative_error(value.to_cpu(stream), golden.expected("len16.from.grad." + name)), tolerance.gradient)
        << name;
    ++compared;
  });
  EXPECT_GE(compared, 4);
}

// Sequences one after another on one lane, each as if alone.
inline void expect_golden_packed(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  const std::vector<std::int64_t> ids = golden.file.tensor("packed.input_ids").select(0).to_vector<std::int64_t>();
  std::vector<std::int64_t> ends = golden.file.tensor("packed.starts").to_vector<std::int64_t>();
  ends.erase(ends.begin());
  ends.push_back(static_cast<std::int64_t>(ids.size()));
  TokenSequences sequences;
  std::int64_t begin = 0;
  for (const std::int64_t end : ends) {
    sequences.emplace_back(ids.begin() + begin, ids.begin() + end);
    begin = end;
  }
  for (const bool gradients : {false, true}) {
    for (const int batch : {1, 2, 3}) {
      State state = golden.model->new_state(batch);
      ExecutorOptions options;
      options.gradients = gradients;
      const Tensor hidden =
          Executor(*golden.model)
              .forward(Work(*golden.model, sequences, batch, c.schedule, all_places(sequences)), state, options);
      EXPECT_LT(logits_error(*golden.model, hidden, golden.expected("packed.logits")), TextTolerance(c.dtype).value)
          << batch;
    }
  }
}

inline void expect_golden_text_continuation(const TextCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream, c.segment);
  const std::string key = "len" + std::to_string(c.length) + ".";
  Reading reading = new_reading(*golden.model, 1);
  read_on(*golden.model, {golden.batch(key).sequences[0]}, c.schedule, reading);
  Decoder decoder(*golden.model, reading.memory, {golden.model->closed_rows(reading.closed[0])}, c.segment);
  TokenSequences next{reading.open[0]};
  std::vector<std::int64_t> generated;
  Context ctx{stream, nullptr, false, 0, 1};
  for (int step = 0; step < 8; ++step) {
    if (decoder.length(0) == c.segment) decoder.close({true});
    const auto logits = golden.model->head(ctx, decoder.append(next))
                            .value.to_cpu(stream)
                            .to(Stream{}, DType::kF64)
                            .to_vector<double>();
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    generated.push_back(best);
    next = {{static_cast<std::int32_t>(best)}};
  }
  EXPECT_EQ(generated, golden.file.tensor(key + "generated").to_vector<std::int64_t>());
}

}  // namespace wt
