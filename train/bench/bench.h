// Speed of a model on this machine: prefill, training step, decoding. Random weights do: time does not depend on them.
#pragma once

#include <string>
#include <vector>

#include "kernels/profile.h"
#include "schedulers/executor.h"

namespace wt {

// The published models' shapes, without a memory, by name: "llama-1b". Throws UsageError naming the presets there are.
ModelConfig preset_model(const std::string& name);
// "llama-160m, llama-1b, …"
std::string preset_names();

// Of its layers the lowest, and of its kinds those that are left.
void keep_layers(ModelConfig& config, std::int64_t layers);
// "NVIDIA H100 …", "CPU"
std::string device_text(const Device& device);
// In [0, vocab_size).
std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab_size, std::uint64_t seed);

struct BenchOptions {
  int warmup = 1;
  int repeats = 3;
  double peak_flops = 0;  // of this machine's matrix product, for the MFU
  bool profile = false;   // also time every kernel, in one more run
};

struct BenchRow {
  std::string name;  // "prefill diagonal"
  std::int64_t tokens = 0;
  double seconds = 0;  // median of the repeats
  double fastest = 0, slowest = 0;
  double mfu = 0;                // train/costs.h (three times that with backward) / (seconds · peak)
  std::uint64_t peak_bytes = 0;  // of tensors: weights, state, activations
  double profiled_seconds = 0;   // of the run that the kernel times are from
  std::vector<kernels::KernelTime> kernels;
  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
};

// Reads `tokens` tokens of `batch` sequences each, without head. schedule: those of plan.h, or "even": what the same
// segments would take if every wave were full (time of twice the segments minus time of the segments, diagonal).
BenchRow bench_prefill(const Model& model, std::int64_t tokens, int batch, const std::string& schedule,
                       const BenchOptions& options);

struct TrainBench {
  std::int64_t tokens = 8192;
  int batch = 1;
  std::string schedule = "diagonal";
  Activations activations = Activations::kKeep;
  bool head = false;       // cross-entropy of the last two tokens of each sequence, else a gradient at every output row
  bool optimizer = false;  // clipping and AdamW too
};
BenchRow bench_train(Model& model, const TrainBench& settings, const BenchOptions& options);

// Decodes `new_tokens` tokens greedily behind a prompt of `prompt` tokens; only the decoding is timed.
BenchRow bench_decode(const Model& model, std::int64_t prompt, std::int64_t new_tokens, int batch,
                      const BenchOptions& options);

// One kernel at the shapes of a full wave.
struct KernelRow {
  std::string name;
  double seconds = 0;  // median
  double bytes = 0;    // that it must move at least
  double flops = 0;    // of its matrix products
};
// The wave's kernels one by one; the first row is a plain copy, whose rate is the limit for bytes.
std::vector<KernelRow> bench_kernels(const ModelConfig& config, int batch, const Stream& stream, DType dtype,
                                     const BenchOptions& options);

}  // namespace wt
