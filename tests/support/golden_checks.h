// What every golden file (tests/fixtures/README.md) must show on any device, schedule and dtype.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/safetensors.h"
#include "schedulers/decoder.h"
#include "schedulers/language_model.h"
#include "tests/support/golden.h"
#include "tests/support/tolerances.h"

namespace wt {

struct GoldenCase {
  std::string file;
  int length;
  Schedule schedule;
  Activations activations;
  DType dtype;
};

inline std::string golden_case_name(const testing::TestParamInfo<GoldenCase>& info) {
  const GoldenCase& c = info.param;
  return c.file + "_" + std::to_string(c.length) + "_" + std::string(name_of(c.schedule)) + "_" +
         (c.activations == Activations::kKeep ? "keep" : "recompute") + "_" + std::string(name_of(c.dtype));
}

// Every file and length, on every schedule, with activations kept and recomputed.
inline std::vector<GoldenCase> golden_cases(const std::vector<DType>& dtypes) {
  std::vector<GoldenCase> cases;
  const std::vector<std::pair<std::string, int>> files{{"armt_llama_tiny", 16},
                                                       {"armt_llama_tiny", 80},
                                                       {"armt_llama_tiny", 73},
                                                       {"armt_llama_tied_nocorrection", 48},
                                                       {"armt_gpt2_tiny", 64}};
  for (const auto& [file, length] : files) {
    for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
      for (const Activations activations : {Activations::kKeep, Activations::kRecompute}) {
        for (const DType dtype : dtypes) cases.push_back({file, length, schedule, activations, dtype});
      }
    }
  }
  return cases;
}

inline void expect_golden_values(const GoldenCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream);
  const std::string key = "len" + std::to_string(c.length) + ".";
  const TokenBatch batch = golden.batch(key);
  const bool exact = c.dtype == DType::kF64;
  const double value_tolerance = exact ? kGoldenF64 : kGoldenLogitsF32;
  const double grad_tolerance = exact ? kGoldenF64 : kGoldenGradientF32;

  Executor executor(*golden.model);
  // Logits of every place.
  std::vector<TokenPlace> places;
  for (std::size_t q = 0; q < batch.sequences.size(); ++q) {
    for (int t = 0; t < c.length; ++t) places.push_back({static_cast<std::int32_t>(q), t});
  }
  State state = golden.model->new_state(batch.batch);
  const Tensor hidden =
      executor.forward(Work(*golden.model, batch.sequences, batch.batch, c.schedule, places), state, {});
  double error = 0;
  const std::vector<double> expected = golden.expected(key + "logits");
  visit_logits(*golden.model, hidden, [&](std::int64_t first, const Tensor& logits) {
    const auto values = logits.to_cpu(stream).to(Stream{}, DType::kF64).to_vector<double>();
    const auto begin = static_cast<std::size_t>(first * logits.dim(1));
    for (std::size_t i = 0; i < values.size(); ++i) error = std::max(error, std::abs(values[i] - expected[begin + i]));
  });
  EXPECT_LT(error, value_tolerance) << "logits";

  ExecutorOptions options;
  options.gradients = true;
  options.activations = c.activations;
  golden.model->parameters().zero_grad();
  State trained = golden.model->new_state(batch.batch);
  const LossResult loss = run_language_model(executor, *golden.model, batch, c.schedule, options,
                                             1.0 / static_cast<double>(batch.num_targets()), trained);
  EXPECT_NEAR(loss.mean(), golden.expected(key + "loss")[0], exact ? kGoldenF64 : kGoldenLogitsF32);

  for (int layer = 0; layer < golden.model->num_layers(); ++layer) {
    const std::string l = std::to_string(layer);
    EXPECT_LT(relative_error(state[0].select(layer).to_cpu(stream), golden.expected(key + "W_mem." + l)),
              grad_tolerance)
        << l;
    EXPECT_LT(relative_error(state[1].select(layer).to_cpu(stream), golden.expected(key + "z." + l)), grad_tolerance)
        << l;
    EXPECT_EQ(state[0].select(layer).to_cpu(stream).to(Stream{}, DType::kF64).to_vector<double>(),
              trained[0].select(layer).to_cpu(stream).to(Stream{}, DType::kF64).to_vector<double>());
  }
  int compared = 0;
  for (const PublishedTensor& tensor : golden.model->parameters().published()) {
    ASSERT_TRUE(tensor.grad.defined()) << tensor.name;
    const std::optional<std::vector<double>> grad = golden.gradient(key, tensor.name);
    if (!grad) {
      // The published code gave this parameter no gradient: one segment leaves the memory unread.
      for (const double value : tensor.grad.to_cpu(stream).to(Stream{}, DType::kF64).to_vector<double>())
        ASSERT_EQ(value, 0) << tensor.name;
      continue;
    }
    EXPECT_LT(relative_error(tensor.grad.to_cpu(stream), *grad), grad_tolerance) << tensor.name;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

inline void expect_golden_continuation(const GoldenCase& c, const Stream& stream) {
  const GoldenModel golden(c.file, c.dtype, stream);
  const std::string key = "len" + std::to_string(c.length) + ".";
  if (!golden.file.contains(key + "generated")) {
    EXPECT_EQ(c.file, "armt_gpt2_tiny");  // the only file without continuations
    return;
  }
  const std::vector<std::int32_t> ids = golden.batch(key).sequences[0];
  const std::int64_t n = golden.model->config().armt->segment_size;
  const auto length = static_cast<std::int64_t>(ids.size());
  const std::int64_t closed = (length - 1) / n * n;
  State state = golden.model->new_state(1);
  if (closed > 0) {
    Executor executor(*golden.model);
    executor.forward(Work(*golden.model, {{ids.begin(), ids.begin() + closed}}, 1, c.schedule), state, {});
  }
  Decoder decoder(*golden.model, state, {golden.model->closed_rows(closed)}, length - closed + 8);
  std::vector<std::int32_t> next(ids.begin() + closed, ids.end());
  std::vector<std::int64_t> generated;
  Context ctx{stream, nullptr, false, 0, 1};
  for (int step = 0; step < 8; ++step) {
    const auto logits = golden.model->head(ctx, decoder.append({next}))
                            .value.to_cpu(stream)
                            .to(Stream{}, DType::kF64)
                            .to_vector<double>();
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    generated.push_back(best);
    next = {static_cast<std::int32_t>(best)};
  }
  EXPECT_EQ(generated, golden.file.tensor(key + "generated").to_vector<std::int64_t>());
}

}  // namespace wt
