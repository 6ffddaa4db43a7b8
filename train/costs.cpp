#include "train/costs.h"

#include <algorithm>
#include <chrono>

#include "kernels/linear.h"
#include "schedulers/segments.h"

namespace wt {

namespace {

Cost layers_cost(const Model& model, std::int64_t rows, std::int64_t past) {
  Cost cost;
  for (int layer = 0; layer < model.num_layers(); ++layer) cost += model.cost(layer, rows, past);
  return cost;
}

}  // namespace

double sequence_flops(const Model& model, std::int64_t tokens) {
  double flops = 0;
  std::int64_t past = 0;
  for (const Segment& segment : cut_segments(tokens, model.segment_size(tokens), model.config().segment_alignment())) {
    const std::int64_t rows = model.layout().rows(segment.length);
    flops += layers_cost(model, rows, past).flops;
    past += rows;
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
  const Model model(c, DType::kF32, {}, WeightUse::kNamesOnly);
  const std::int64_t rows = model.layout().rows(c.data_segment());
  double state = 0, grown = 0;  // elements of all layers; and of what grows, after all segments
  for (const StateSpec& spec : model.state_specs()) {
    if (spec.open) continue;
    const double of_layers =
        static_cast<double>(std::max<std::size_t>(1, spec.layers.size())) * static_cast<double>(spec.shape.numel());
    if (spec.grows()) {
      grown += of_layers * static_cast<double>(rows * segments);
    } else {
      state += of_layers;
    }
  }
  const auto whole_kept = static_cast<double>(layers_cost(model, rows, 0).kept);
  const double inputs = static_cast<double>(c.num_layers) * static_cast<double>(c.hidden_size * rows) + state;
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
  estimate.state = bytes(2 * samples * state, whole) + bytes(samples * grown, size + whole);
  const bool recompute = activations == Activations::kRecompute;
  double kept = static_cast<double>(segments) * (recompute ? inputs : whole_kept);
  // One wave is run again at a time.
  if (recompute) kept += static_cast<double>(std::min(c.num_layers, segments)) * whole_kept / layers;
  estimate.activations = bytes(kept * samples, size);
  return estimate;
}

std::int64_t count_parameters(const ModelConfig& config) {
  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  std::int64_t count = 0;
  for (const auto& parameter : names.parameters().all()) {
    count += parameter->spec().count() * parameter->spec().shape.numel();
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
