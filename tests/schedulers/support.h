// Small models and ragged batches for the tests of schedules.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "layers/families/family.h"
#include "schedulers/language_model.h"

namespace wt {

inline Mamba2Config tiny_mamba() {
  Mamba2Config mamba;
  mamba.num_heads = 4;
  mamba.head_dim = 4;
  mamba.state_size = 3;
  mamba.num_groups = 2;
  mamba.conv_width = 4;
  return mamba;
}

// A model small enough to be differenced element by element, large enough to have every part, with ARMT. "hybrid": two
// kinds of attention in turn, of other heads and another rotary base. "mamba2" and "bamba": these families; "mixed": a
// hybrid of Mamba-2, attention inside a segment, and attention over the text.
inline ModelConfig tiny_config(std::string_view type, int layers = 2) {
  ModelConfig c = new_config(type == "mixed" ? "hybrid" : type);
  c.vocab_size = 11;
  c.hidden_size = 8;
  c.feed_forward.intermediate_size = type == "mamba2" ? 0 : 10;
  c.num_layers = layers;
  c.max_positions = 6;
  c.tie_word_embeddings = type == "gpt2" || type == "mamba2";
  c.armt = {.segment_size = 5, .num_mem_tokens = 3, .d_mem = 6, .nu = 3};
  const auto every = [&](int step, int first) {
    std::vector<std::int64_t> list;
    for (int layer = first; layer < layers; layer += step) list.push_back(layer);
    return list;
  };
  AttentionConfig attention;
  attention.num_heads = 2;
  attention.num_kv_heads = type == "gpt2" ? 0 : 1;
  attention.rope_theta = 100;
  if (type == "mamba2" || type == "bamba" || type == "mixed") {
    Mamba2Config mamba = tiny_mamba();
    if (type == "mixed") mamba.num_groups = 1;  // with one group a decoding step has a way of its own
    c.kinds = {{"mamba", mamba, {}}};
    AttentionConfig text = attention;
    text.span = AttentionConfig::Span::kText;
    text.partial_rotary_factor = 0.5;
    if (type != "mamba2") c.kinds.push_back({"attention", text, every(type == "mixed" ? 3 : 2, 1)});
    if (type == "mixed" && layers > 2) c.kinds.push_back({"near", attention, every(3, 2)});
    family_of(c).fix(c);
    return c;
  }
  const AttentionConfig names = c.attention();
  attention.rotary = names.rotary;
  attention.bias = names.bias;
  attention.in = names.in;
  attention.out = names.out;
  c.attention() = attention;
  if (type == "hybrid") {
    c.kinds[0].name = "wide";
    AttentionConfig narrow;
    narrow.num_heads = 4;
    narrow.num_kv_heads = 2;
    narrow.rope_theta = 30;
    c.kinds.push_back({"narrow", narrow, every(2, 1)});
  }
  return c;
}

// The same without ARMT; what carries a text by itself reads it by as many tokens at once.
inline ModelConfig without_memory(ModelConfig c) {
  const std::int64_t size = c.armt ? c.armt->segment_size : 0;
  c.armt.reset();
  const bool carries = std::any_of(c.kinds.begin(), c.kinds.end(), [](const KindConfig& kind) {
    return std::visit([](const auto& mixer) { return carries_text(mixer); }, kind.mixer);
  });
  if (carries) set_segment_size(c, size);
  return c;
}

// Weights of size one over the root of their width, so that nothing is nearly linear or nearly nothing, and a memory
// that is written with something (fresh ones start with zero values).
inline std::unique_ptr<Model> tiny_model(const ModelConfig& config, DType dtype = DType::kF64, std::uint64_t seed = 1,
                                         const Stream& stream = {}, double scale = 0.4) {
  auto model = std::make_unique<Model>(config, dtype, stream);
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 3));
  for (const PublishedTensor& tensor : model->parameters().published()) {
    const bool gain = tensor.init.kind == Init::Kind::kOnes;
    std::vector<double> values(static_cast<std::size_t>(tensor.value.numel()));
    for (double& value : values) value = (gain ? 1 : 0) + scale * random.normal();
    tensor.write(stream, Tensor::from<double>(tensor.value.shape(), values));
  }
  return model;
}

// Random tokens; all but every fourth place carries a loss.
inline TokenBatch random_batch(const std::vector<std::int64_t>& lengths, int batch, std::int64_t vocab_size,
                               std::uint64_t seed = 2) {
  TokenBatch out;
  out.batch = batch;
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 4));
  for (const std::int64_t length : lengths) {
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> mask;
    for (std::int64_t t = 0; t < length; ++t) {
      ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab_size))));
      mask.push_back(t % 4 != 2 ? 1 : 0);
    }
    out.add(std::move(ids), mask);
  }
  return out;
}

// The numbers of a state, tensor by tensor; `rows` of what grows.
inline std::vector<std::vector<double>> values_of(const State& state, std::int64_t rows = 0) {
  std::vector<std::vector<double>> all;
  for (int b = 0; b < state.batch(); ++b) {
    for (const auto& [name, value] : state.published(b, rows)) {
      all.push_back(value.to(Stream{}, DType::kF64).to_vector<double>());
    }
  }
  return all;
}

// Everything a training step leaves behind.
struct StepResult {
  double loss = 0;
  State state;
  std::vector<std::pair<std::string, std::vector<double>>> grads;
  std::uint64_t saved_bytes = 0;
  double min_denominator = 0;
};

inline StepResult run_step(Model& model, const TokenBatch& batch, Schedule schedule, const ExecutorOptions& options,
                           double scale = 1) {
  Executor executor(model);
  StepResult result;
  result.state = model.new_state(batch.batch);
  model.parameters().zero_grad();
  result.loss = run_language_model(executor, model, batch, schedule, options, scale, result.state).sum;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    result.grads.emplace_back(tensor.name,
                              tensor.grad.to_cpu(model.stream()).to(Stream{}, DType::kF64).to_vector<double>());
  }
  for (const std::uint64_t bytes : executor.saved_bytes()) result.saved_bytes += bytes;
  result.min_denominator = executor.min_denominator();
  return result;
}

}  // namespace wt
