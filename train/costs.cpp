#include "train/costs.h"

#include <algorithm>
#include <chrono>

#include "kernels/linear.h"
#include "schedulers/segments.h"

namespace wt {

double forward_flops(const ModelConfig& c, std::int64_t segments, std::int64_t rows, std::int64_t head_rows) {
  const auto d = static_cast<double>(c.hidden_size), f = static_cast<double>(c.mlp_width());
  const auto q = static_cast<double>(c.num_heads * c.head_width()),
             kv = static_cast<double>(c.kv_heads() * c.head_width());
  const auto r = static_cast<double>(rows);
  const bool gated = c.type == BackboneType::kLlama;
  double weights = d * (q + 2 * kv) + q * d + (gated ? 3 : 2) * d * f;
  double other = 2 * r * r * q;
  if (c.has_armt) {
    const auto p = static_cast<double>(c.armt.num_features()), m = static_cast<double>(c.armt.num_mem_tokens);
    const auto dm = static_cast<double>(c.armt.d_mem);
    other += 2 * r * (d * dm + p * d + p);                      // query, φ A, φ·z
    other += 2 * m * (d * dm + d * d + d + 2 * p * d + 2 * p);  // key, value, strength, k A, k ⊗ e
  }
  const double cell = 2 * weights * r + other;
  return cell * static_cast<double>(segments * c.num_layers) +
         2 * d * static_cast<double>(c.vocab_size) * static_cast<double>(head_rows);
}

double sequence_flops(const Model& model, std::int64_t tokens) {
  double flops = 0;
  for (const Segment& segment : cut_segments(tokens, model.segment_size(tokens), model.config().segment_alignment())) {
    flops += forward_flops(model.config(), 1, segment.length + model.memory_rows(), 0);
  }
  return flops;
}

double measure_gemm_rate(const Stream& stream, DType dtype) {
  const bool gpu = stream.device().is_cuda();
  const std::int64_t n = gpu ? 8192 : 1024;
  // Numbers of a real product's spread: on zeros a GPU runs faster than it ever will. Some rows of them, repeated.
  const std::int64_t rows = 128;
  std::vector<float> values(static_cast<std::size_t>(rows * n));
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  const Tensor drawn = Tensor::from<float>({rows, n}, values).to(stream, dtype);
  const Tensor a = Tensor::empty(stream, {1, n, n}, dtype);
  for (std::int64_t row = 0; row < n; row += rows) a.select(0).slice(row, row + rows).copy_from(stream, drawn);
  const Tensor c = Tensor::empty(stream, {1, n, n}, dtype);
  double best = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    kernels::linear_forward(stream, a, a, kernels::WeightLayout::kOutIn, {}, {}, c);
    stream.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / seconds / 1e9);
  }
  return best;
}

MemoryEstimate estimate_memory(const ModelConfig& c, std::int64_t parameters, std::int64_t batch, std::int64_t segments,
                               Activations activations, std::size_t element, std::int64_t trained) {
  const std::int64_t d = c.hidden_size, f = c.mlp_width(), q = c.num_heads * c.head_width();
  const std::int64_t kv = c.kv_heads() * c.head_width();
  const std::int64_t m = c.has_armt ? c.armt.num_mem_tokens : 0, p = c.has_armt ? c.armt.num_features() : 0;
  const std::int64_t rows = c.data_segment() + c.memory_rows();
  // Elements that one cell's ops keep for backward: the block's input, normed input, qkv, attention output, middle,
  // normed middle, feed-forward input and activation; the memory's query, features and the state before the wave.
  const bool gated = c.type == BackboneType::kLlama;
  std::int64_t per_row = 4 * d + (q + 2 * kv) + q + c.num_heads + (gated ? 3 : 2) * f + 2;
  std::int64_t per_cell = 0;
  if (c.has_armt) {
    per_row += d + c.armt.d_mem + p + 1;
    per_cell = p * d + p + m * (2 * d + 2 * p + c.armt.d_mem);
  }
  const std::int64_t kept = activations != Activations::kRecompute ? per_row * rows + per_cell : d * rows + p * d + p;
  const auto size = static_cast<std::uint64_t>(element);
  // Weights, gradients, moments and the state are never narrower than f32 (core/split_float.h).
  const std::uint64_t whole = std::max<std::uint64_t>(size, 4);
  // In doubles: a configuration may ask for more than 64 bits count.
  const auto bytes = [](double count, std::uint64_t each) {
    return static_cast<std::uint64_t>(std::min(count * static_cast<double>(each), 0x1p60));
  };
  const auto samples = static_cast<double>(batch), layers = static_cast<double>(c.num_layers);
  MemoryEstimate estimate;
  estimate.weights = static_cast<std::uint64_t>(parameters) * whole;
  estimate.training = 3 * static_cast<std::uint64_t>(trained < 0 ? parameters : trained) * whole;
  estimate.state = bytes(2 * layers * samples * static_cast<double>(p * d + p), whole);
  double cells = layers * static_cast<double>(segments) * static_cast<double>(kept);
  // One wave is run again at a time.
  if (activations == Activations::kRecompute) {
    cells += static_cast<double>(std::min(c.num_layers, segments)) * static_cast<double>(per_row * rows + per_cell);
  }
  estimate.activations = bytes(cells * samples, size);
  return estimate;
}

std::int64_t count_parameters(const ModelConfig& config) {
  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  std::int64_t count = 0;
  for (const auto& parameter : names.parameters().all()) {
    count += std::max<std::int64_t>(1, parameter->spec().layers) * parameter->spec().shape.numel();
  }
  return count;
}

MemoryEstimate stage_memory(const Config& config, const StageConfig& stage, const ModelConfig& model,
                            std::int64_t parameters, std::int64_t trained, std::int64_t batch) {
  const TrainConfig& train = config.train;
  const bool streams = train.wave_schedule == Schedule::kStreaming;
  return estimate_memory(model, parameters, batch, stage.max_segments() * (streams ? train.grad_accumulation : 1),
                         train.activations == Activations::kAuto ? Activations::kRecompute : train.activations,
                         size_of(config.run.dtype), trained);
}

}  // namespace wt
