#include "train/bench/bench.h"

#include <algorithm>
#include <functional>

#include "core/cuda.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/text.h"
#include "layers/families/family.h"
#include "schedulers/decoder.h"
#include "schedulers/language_model.h"
#include "train/costs.h"
#include "train/eval/generate.h"
#include "train/run/optimizer.h"
#include "train/units.h"

namespace wt {
namespace {

struct Preset {
  const char* name;
  std::int64_t layers, width, ffn, heads, kv_heads, head_width, vocab;
  bool tied;
};

// Shapes of the published models: llama-160m (JackFram/llama-160m), Llama 3.2 1B and 3B, Llama 3.1 8B.
constexpr Preset kPresets[] = {
    {"llama-160m", 12, 768, 3072, 12, 12, 64, 32000, false},
    {"llama-1b", 16, 2048, 8192, 32, 8, 64, 128256, true},
    {"llama-3b", 28, 3072, 8192, 24, 8, 128, 128256, true},
    {"llama-8b", 32, 4096, 14336, 32, 8, 128, 128256, false},
};

// state-spaces/mamba2-130m to 2.7b: heads of 64, state 128. Bamba-9B: attention at layers 9, 18 and 27.
struct StatePreset {
  const char* name;
  std::int64_t layers, width, ffn, vocab;
};
constexpr StatePreset kStatePresets[] = {
    {"mamba2-130m", 24, 768, 0, 50288},  {"mamba2-370m", 48, 1024, 0, 50288},   {"mamba2-1.3b", 48, 2048, 0, 50288},
    {"mamba2-2.7b", 64, 2560, 0, 50288}, {"bamba-9b", 32, 4096, 14336, 128256},
};

ModelConfig mamba2_model(const StatePreset& p) {
  ModelConfig c = new_config("mamba2");
  c.num_layers = p.layers;
  c.hidden_size = p.width;
  c.vocab_size = p.vocab;
  return c;
}

ModelConfig bamba_model(const StatePreset& p) {
  ModelConfig c = new_config("bamba");
  c.num_layers = p.layers;
  c.hidden_size = p.width;
  c.vocab_size = p.vocab;
  c.feed_forward.intermediate_size = p.ffn;
  c.tie_word_embeddings = false;
  AttentionConfig attention;
  attention.num_heads = 32;
  attention.num_kv_heads = 8;
  attention.partial_rotary_factor = 0.5;
  c.kinds.push_back({"attention", attention, {9, 18, 27}});
  family_of(c).fix(c);
  return c;
}

void set_times(BenchRow& row, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  row.seconds = times[times.size() / 2];
  row.fastest = times.front();
  row.slowest = times.back();
}

// Runs the work warmup + repeats times, the device's queue drained around each, and once more under the profiler.
BenchRow measure(const Stream& stream, const BenchOptions& options, const std::function<void()>& work) {
  BenchRow row;
  std::vector<double> times;
  for (int i = 0; i < options.warmup + options.repeats; ++i) {
    stream.synchronize();
    reset_peak(stream.device());
    const double start = steady_seconds();
    work();
    stream.synchronize();
    if (i >= options.warmup) times.push_back(steady_seconds() - start);
    row.peak_bytes = std::max(row.peak_bytes, memory_use(stream.device()).peak);
  }
  set_times(row, std::move(times));
  if (options.profile) {
    kernels::Profile profile(stream);
    const double start = steady_seconds();
    work();
    stream.synchronize();
    row.profiled_seconds = steady_seconds() - start;
    row.kernels = profile.times();
  }
  return row;
}

TokenSequences random_texts(const Model& model, std::int64_t tokens, int batch) {
  TokenSequences texts;
  for (int b = 0; b < batch; ++b) {
    texts.push_back(random_ids(tokens, model.config().vocab_size, static_cast<std::uint64_t>(b)));
  }
  return texts;
}

}  // namespace

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab_size, std::uint64_t seed) {
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 0));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab_size)));
  return ids;
}

std::string device_text(const Device& device) {
  return device.is_cuda() ? cuda::device_name(device.index) : std::string("CPU");
}

void keep_layers(ModelConfig& c, std::int64_t layers) {
  c.num_layers = layers;
  for (KindConfig& kind : c.kinds) {
    std::erase_if(kind.layers, [&](std::int64_t layer) { return layer >= layers; });
  }
  family_of(c).fix(c);
}

std::string preset_names() {
  std::string all;
  for (const Preset& p : kPresets) all += cat(all.empty() ? "" : ", ", p.name);
  for (const StatePreset& p : kStatePresets) all += cat(", ", p.name);
  return all;
}

ModelConfig preset_model(const std::string& name) {
  for (const Preset& p : kPresets) {
    if (name != p.name) continue;
    ModelConfig c;
    c.num_layers = p.layers;
    c.hidden_size = p.width;
    c.feed_forward.intermediate_size = p.ffn;
    c.attention().num_heads = p.heads;
    c.attention().num_kv_heads = p.kv_heads;
    c.attention().head_dim = p.head_width;
    c.vocab_size = p.vocab;
    c.tie_word_embeddings = p.tied;
    c.attention().rope_theta = 500000;
    return c;
  }
  for (const StatePreset& p : kStatePresets) {
    if (name == p.name) return p.ffn == 0 ? mamba2_model(p) : bamba_model(p);
  }
  std::vector<std::string> names;
  for (const Preset& p : kPresets) names.emplace_back(p.name);
  for (const StatePreset& p : kStatePresets) names.emplace_back(p.name);
  throw UsageError(cat("unknown preset '", name, "', expected one of ", preset_names(), did_you_mean(name, names)));
}

BenchRow bench_prefill(const Model& model, std::int64_t tokens, int batch, const std::string& schedule,
                       const BenchOptions& options) {
  const bool even = schedule == "even";
  const auto run = [&](std::int64_t length, const BenchOptions& o) {
    const Work work(model, random_texts(model, length, batch), batch,
                    even ? Schedule::kDiagonal : schedule_from_name(schedule));
    State state = model.new_state(batch);
    Executor executor(model);
    return measure(model.stream(), o, [&] { executor.forward(work, state, {}); });
  };
  BenchRow row = run(tokens, options);
  if (even) {
    BenchOptions plain = options;
    plain.profile = false;
    const BenchRow twice = run(2 * tokens, plain);
    row.seconds = twice.seconds - row.seconds;
    row.fastest = row.slowest = row.seconds;
    row.kernels.clear();
  }
  row.name = "prefill " + schedule;
  row.tokens = tokens * batch;
  const double read =
      even ? sequence_flops(model, 2 * tokens) - sequence_flops(model, tokens) : sequence_flops(model, tokens);
  row.mfu = batch * read / row.seconds / options.peak_flops;
  return row;
}

BenchRow bench_train(Model& model, const TrainBench& settings, const BenchOptions& options) {
  const Stream& stream = model.stream();
  const Schedule schedule = schedule_from_name(settings.schedule);
  ExecutorOptions run;
  run.gradients = run.training = true;
  run.activations = settings.activations;
  Executor executor(model);
  State state = model.new_state(settings.batch);
  TokenBatch batch;
  batch.batch = settings.batch;
  std::vector<TokenPlace> places;
  Tensor dhidden;
  for (int q = 0; q < settings.batch; ++q) {
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(settings.tokens), 0);
    for (std::int64_t t = std::max<std::int64_t>(0, settings.tokens - 3); t + 1 < settings.tokens; ++t) {
      mask[static_cast<std::size_t>(t)] = 1;
    }
    batch.add(random_ids(settings.tokens, model.config().vocab_size, static_cast<std::uint64_t>(q)), mask);
    for (std::int64_t t = 0; t < settings.tokens && !settings.head; ++t) places.push_back({q, t});
  }
  if (!settings.head) {
    const auto rows = static_cast<std::int64_t>(places.size());
    const std::vector<float> ones(static_cast<std::size_t>(rows * model.config().hidden_size), 1e-3f);
    dhidden = Tensor::from<float>({rows, model.config().hidden_size}, ones).to(stream, model.dtype());
  }
  const Work work(model, batch.sequences, settings.batch, schedule, places);
  std::unique_ptr<AdamW> optimizer;
  if (settings.optimizer) optimizer = std::make_unique<AdamW>(model.parameters(), OptimizerConfig{}, stream);
  BenchRow row = measure(stream, options, [&] {
    model.parameters().zero_grad();
    if (settings.head) {
      run_language_model(executor, model, batch, schedule, run, 1.0, state);
    } else {
      executor.forward(work, state, run);
      executor.backward(dhidden);
    }
    if (optimizer) {
      const double norm = optimizer->grad_norm();
      optimizer->step(1e-6, norm > 1 ? 1 / norm : 1);
    }
  });
  row.name = cat("train ", settings.schedule,
                 settings.activations == Activations::kKeep   ? " keep"
                 : settings.activations == Activations::kAuto ? " auto"
                                                              : " recompute",
                 settings.head ? " +head" : "", settings.optimizer ? " +optimizer" : "");
  row.tokens = settings.tokens * settings.batch;
  const double forward = settings.batch * sequence_flops(model, settings.tokens) +
                         model.head_flops(settings.head ? batch.num_targets() : 0);
  row.mfu = 3 * forward / row.seconds / options.peak_flops;
  return row;
}

BenchRow bench_decode(const Model& model, std::int64_t prompt, std::int64_t new_tokens, int batch,
                      const BenchOptions& options) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (int b = 0; b < batch; ++b) {
    prompts.push_back(random_ids(prompt, model.config().vocab_size, static_cast<std::uint64_t>(b)));
  }
  std::vector<double> times;
  GenerateOptions generation;
  generation.max_new_tokens = new_tokens + 1;
  BenchRow row;
  reset_peak(model.stream().device());
  for (int i = 0; i < options.warmup + options.repeats; ++i) {
    // From the first new token to the last: the prompt's own reading is not part of it.
    std::int64_t seen = 0;
    double start = 0;
    generate(model, prompts, generation, [&](int sample, std::int32_t) {
      if (sample == 0 && seen++ == 0) start = steady_seconds();
      return true;
    });
    if (i >= options.warmup) times.push_back(steady_seconds() - start);
  }
  set_times(row, std::move(times));
  if (options.profile) {
    // The prompt included: it cannot be told apart. Without graphs, which hide the kernels from the profiler.
    kernels::Profile profile(model.stream());
    const double start = steady_seconds();
    generate(model, prompts, generation, {});
    row.profiled_seconds = steady_seconds() - start;
    row.kernels = profile.times();
  }
  row.name = "decode";
  row.tokens = new_tokens * batch;
  row.peak_bytes = memory_use(model.stream().device()).peak;
  const double read = sequence_flops(model, prompt + new_tokens) - sequence_flops(model, prompt);
  row.mfu = (batch * read + model.head_flops(row.tokens)) / row.seconds / options.peak_flops;
  return row;
}

}  // namespace wt
