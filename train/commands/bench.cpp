// wavetape bench: how fast a model runs on this machine.
#include "train/bench/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "layers/families/family.h"
#include "train/commands/commands.h"
#include "train/config.h"
#include "train/costs.h"
#include "train/models/model_io.h"
#include "train/report/charts.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string preset = "llama-160m", config, dtype = "bf16", device = "auto", json;
  std::vector<std::string> schedules{"diagonal"}, activations{"keep"};
  std::vector<std::int64_t> tokens;
  std::int64_t segment_size = 1024, num_mem_tokens = 128, d_mem = 64, nu = 3, new_tokens = 64;
  int batch = 1, layers = 0;
  bool head = false, optimizer = false, profile = false;
  BenchOptions bench;
};

ModelConfig model_of(const Options& o) {
  if (!o.config.empty()) {
    const Config config = load_config(o.config);
    if (!config.model_from.empty() || config.model.vocab_size == 0) {
      throw UsageError(
          cat(o.config, ": a benchmark reads no other file: give model.vocab_size and the other sizes there"));
    }
    return config.model;
  }
  ModelConfig c = preset_model(o.preset);
  if (o.layers > 0) keep_layers(c, o.layers);
  if (c.layers_carry_text()) {
    set_segment_size(c, o.segment_size);
    return c;
  }
  c.armt = {.segment_size = o.segment_size, .num_mem_tokens = o.num_mem_tokens, .d_mem = o.d_mem, .nu = o.nu};
  return c;
}

void print_row(const BenchRow& row) {
  std::printf("%-40s %10lld %10.4f %10s %6.1f %10s\n", row.name.c_str(), static_cast<long long>(row.tokens),
              row.seconds, human_count(row.tokens_per_second()).c_str(), 100 * row.mfu,
              human_bytes(row.peak_bytes).c_str());
  if (row.kernels.empty()) return;
  std::map<std::string, double> classes;
  double busy = 0;
  for (const auto& time : row.kernels) {
    classes[kernels::name_of(time.kernel_class)] += time.seconds;
    busy += time.seconds;
  }
  for (const auto& [name, seconds] : classes) {
    std::printf("    %-36s %10.4f s %5.1f %%\n", name.c_str(), seconds, 100 * seconds / row.profiled_seconds);
  }
  std::printf("    %-36s %10.4f s %5.1f %%\n", "idle and unnamed", row.profiled_seconds - busy,
              100 * (1 - busy / row.profiled_seconds));
  for (const auto& time : row.kernels) {
    std::printf("        %-32s %10.4f s %8lld calls %9.1f us\n", time.name.c_str(), time.seconds,
                static_cast<long long>(time.calls), 1e6 * time.seconds / static_cast<double>(time.calls));
  }
}

void report(const Options& o, const Model& model, const std::vector<BenchRow>& rows) {
  if (o.json.empty()) return;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const BenchRow& row : rows) {
    nlohmann::ordered_json kernels = nlohmann::ordered_json::object();
    for (const auto& time : row.kernels) kernels[time.name] = {{"seconds", time.seconds}, {"calls", time.calls}};
    list.push_back({{"name", row.name},
                    {"tokens", row.tokens},
                    {"seconds", row.seconds},
                    {"fastest", row.fastest},
                    {"slowest", row.slowest},
                    {"tokens_per_second", row.tokens_per_second()},
                    {"mfu", row.mfu},
                    {"peak_bytes", row.peak_bytes},
                    {"kernels", kernels}});
  }
  const ModelConfig& c = model.config();
  const nlohmann::ordered_json all{{"device", device_text(model.stream().device())},
                                   {"dtype", o.dtype},
                                   {"model", o.config.empty() ? o.preset : o.config},
                                   {"layers", c.num_layers},
                                   {"hidden_size", c.hidden_size},
                                   {"segment_size", c.segment_size()},
                                   {"num_mem_tokens", c.num_mem_tokens()},
                                   {"d_mem", c.armt ? c.armt->d_mem : 0},
                                   {"batch", o.batch},
                                   {"repeats", o.bench.repeats},
                                   {"gemm_tflops", o.bench.peak_flops * 1e-12},
                                   {"rows", list}};
  write_file(o.json, all.dump(2) + "\n");
}

std::unique_ptr<Model> prepare(Options& o, WeightUse use) {
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const DType computing = computing_dtype(stream.device(), dtype);
  auto model = std::make_unique<Model>(model_of(o), computing, stream, use);
  model->parameters().initialize(1);
  o.bench.profile = o.profile;
  o.bench.peak_flops = measure_gemm_rate(stream, computing) * 1e9;
  const ModelConfig& c = model->config();
  std::printf("%s, %s; %s parameters, %lld layers of width %lld, segments of %lld + %lld rows, d_mem %lld, batch %d\n",
              device_text(stream.device()).c_str(), std::string(name_of(computing)).c_str(),
              human_count(static_cast<double>(model->parameters().count())).c_str(),
              static_cast<long long>(c.num_layers), static_cast<long long>(c.hidden_size),
              static_cast<long long>(c.segment_size()), static_cast<long long>(c.num_mem_tokens()),
              static_cast<long long>(c.armt ? c.armt->d_mem : 0), o.batch);
  std::printf("MFU: matrix products, causal attention and memory, over %.3g TFLOP/s of a large matrix product here\n",
              o.bench.peak_flops * 1e-12);
  std::printf("%-40s %10s %10s %10s %6s %10s\n", "", "tokens", "seconds", "tokens/s", "MFU %", "memory");
  return model;
}

void run_prefill(Options& o) {
  const auto model = prepare(o, WeightUse::kInference);
  std::vector<BenchRow> rows;
  for (const std::int64_t tokens : o.tokens.empty() ? std::vector<std::int64_t>{32768} : o.tokens) {
    for (const std::string& schedule : o.schedules) {
      rows.push_back(bench_prefill(*model, tokens, o.batch, schedule, o.bench));
      print_row(rows.back());
    }
  }
  report(o, *model, rows);
}

void run_train(Options& o) {
  const auto model = prepare(o, WeightUse::kTraining);
  std::vector<BenchRow> rows;
  for (const std::int64_t tokens : o.tokens.empty() ? std::vector<std::int64_t>{8192} : o.tokens) {
    for (const std::string& schedule : o.schedules) {
      for (const std::string& activations : o.activations) {
        TrainBench settings{tokens,
                            o.batch,
                            schedule,
                            activations == "keep"   ? Activations::kKeep
                            : activations == "auto" ? Activations::kAuto
                                                    : Activations::kRecompute,
                            o.head,
                            o.optimizer};
        rows.push_back(bench_train(*model, settings, o.bench));
        print_row(rows.back());
      }
    }
  }
  report(o, *model, rows);
}

void run_decode(Options& o) {
  const auto model = prepare(o, WeightUse::kInference);
  std::vector<BenchRow> rows;
  for (const std::int64_t tokens : o.tokens.empty() ? std::vector<std::int64_t>{2560} : o.tokens) {
    rows.push_back(bench_decode(*model, tokens, o.new_tokens, o.batch, o.bench));
    print_row(rows.back());
  }
  report(o, *model, rows);
}

void run_kernels(Options& o) {
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const DType computing = computing_dtype(stream.device(), dtype);
  o.bench.peak_flops = measure_gemm_rate(stream, computing) * 1e9;
  const std::vector<KernelRow> rows = bench_kernels(model_of(o), o.batch, stream, computing, o.bench);
  const double copy_rate = rows.front().bytes / rows.front().seconds;
  std::printf("%s, %s; limits: copy %.0f GB/s, matrix product %.3g TFLOP/s\n", device_text(stream.device()).c_str(),
              std::string(name_of(computing)).c_str(), copy_rate * 1e-9, o.bench.peak_flops * 1e-12);
  std::printf("%-26s %10s %10s %10s %10s\n", "", "us", "GB/s", "TFLOP/s", "% of limit");
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const KernelRow& row : rows) {
    const double limit = std::max(row.bytes / copy_rate, row.flops / o.bench.peak_flops);
    std::printf("%-26s %10.1f %10.0f %10.1f %10.0f\n", row.name.c_str(), row.seconds * 1e6,
                row.bytes / row.seconds * 1e-9, row.flops / row.seconds * 1e-12, 100 * limit / row.seconds);
    list.push_back({{"name", row.name},
                    {"seconds", row.seconds},
                    {"bytes", row.bytes},
                    {"flops", row.flops},
                    {"share_of_limit", limit / row.seconds}});
  }
  if (!o.json.empty()) write_file(o.json, nlohmann::ordered_json{{"kernels", list}}.dump(2) + "\n");
}

std::string short_tokens(std::int64_t tokens) {
  if (tokens % (1 << 20) == 0) return cat(tokens >> 20, "M");
  return tokens % 1024 == 0 ? cat(tokens >> 10, "k") : cat(tokens);
}

// How many times faster the diagonal schedule reads than the sequential one, by length and model.
void run_speedup(Options& o, const std::vector<std::string>& presets, const std::string& plot) {
  std::vector<std::string> columns;
  for (const std::int64_t tokens : o.tokens) columns.push_back(short_tokens(tokens));
  std::vector<ChartLine> lines;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  double most = 1;
  std::string device;
  for (const std::string& preset : presets) {
    o.preset = preset;
    const auto model = prepare(o, WeightUse::kInference);
    device = device_text(model->stream().device());
    lines.push_back({preset, {}});
    for (const std::int64_t tokens : o.tokens) {
      const BenchRow diagonal = bench_prefill(*model, tokens, o.batch, "diagonal", o.bench);
      const BenchRow sequential = bench_prefill(*model, tokens, o.batch, "sequential", o.bench);
      print_row(diagonal);
      print_row(sequential);
      lines.back().values.emplace_back(sequential.seconds / diagonal.seconds);
      most = std::max(most, *lines.back().values.back());
      list.push_back({{"preset", preset},
                      {"tokens", tokens},
                      {"diagonal_seconds", diagonal.seconds},
                      {"sequential_seconds", sequential.seconds},
                      {"speedup", *lines.back().values.back()}});
    }
  }
  std::printf("\nsequential / diagonal%*s", 3, "");
  for (const std::string& column : columns) std::printf(" %7s", column.c_str());
  for (const ChartLine& line : lines) {
    std::printf("\n%-24s", line.name.c_str());
    for (const auto& value : line.values) std::printf(" %7.2f", *value);
  }
  std::printf("\n");
  if (!o.json.empty()) write_file(o.json, nlohmann::ordered_json{{"device", device}, {"rows", list}}.dump(2) + "\n");
  if (plot.empty()) return;
  const std::string subtitle = cat(device, ", ", o.dtype, ", batch ", o.batch, ", segments of ", o.segment_size, " + ",
                                   o.num_mem_tokens, " rows");
  write_file(plot,
             line_chart_svg("Diagonal waves against one segment after another", subtitle, "tokens read", columns, lines,
                            {.title = "times faster", .unit = " times", .top = std::ceil(2 * most) / 2, .step = 0.5}));
}

void add_shape(CLI::App* command, Options& o) {
  const auto size = CLI::Range(1, 1 << 30);
  command->add_option("--layers", o.layers, "Another number of layers than the preset's")->check(CLI::Range(1, 1000));
  command->add_option("--segment-size", o.segment_size, "Tokens of a segment")->capture_default_str()->check(size);
  command->add_option("--num-mem-tokens", o.num_mem_tokens, "Memory tokens of a llama")
      ->capture_default_str()
      ->check(size);
  command->add_option("--d-mem", o.d_mem, "Width of its memory's keys")->capture_default_str()->check(size);
  command->add_option("--batch", o.batch, "Sequences side by side")->capture_default_str()->check(CLI::Range(1, 4096));
  command->add_option("--dtype", o.dtype, "What to compute in")
      ->capture_default_str()
      ->check(CLI::IsMember({"bf16", "f32", "f64"}));
  command->add_option("--device", o.device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--warmup", o.bench.warmup, "Runs before the timed ones")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  command->add_option("--repeats", o.bench.repeats, "Timed runs; the median is shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--json", o.json, "Write everything to this file, too");
}

void add_tokens(CLI::App* command, Options& o, const char* what) {
  command->add_option("--tokens", o.tokens, what)->delimiter(',')->check(CLI::Range(1, 1 << 30));
}

void add_model(CLI::App* command, Options& o) {
  auto* preset = command->add_option("--preset", o.preset, preset_names() + "; random weights")->capture_default_str();
  add_shape(command, o);
  auto* config = command->add_option("--config", o.config,
                                     "A training configuration whose model to use; its sizes, vocab_size too, must be "
                                     "given there");
  config->excludes(preset);
  for (const char* size : {"--layers", "--segment-size", "--num-mem-tokens", "--d-mem"}) {
    config->excludes(command->get_option(size));
  }
}

void add_common(CLI::App* command, Options& o, const char* tokens) {
  add_model(command, o);
  add_tokens(command, o, tokens);
  command->add_flag("--profile", o.profile, "Also show the time by kernel, from one more run");
}

}  // namespace

void add_bench(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("bench", "How fast a model of a given shape runs on this machine");
  command->require_subcommand(1);
  CLI::App* prefill = command->add_subcommand("prefill", "Reading a long sequence, without head");
  add_common(prefill, *o, "Tokens to read (default 32768)");
  prefill->add_option("--schedule", o->schedules, "diagonal, sequential, streaming, or even (all waves full)")
      ->delimiter(',')
      ->capture_default_str();
  prefill->footer(
      "Example:\n  wavetape bench prefill --preset llama-1b --tokens 131072 --schedule diagonal sequential");
  prefill->callback([o] { run_prefill(*o); });
  CLI::App* train = command->add_subcommand("train", "Forward and backward, and with flags the rest of a step");
  add_common(train, *o, "Tokens of each sequence (default 8192)");
  train->add_option("--schedule", o->schedules, "diagonal, sequential or streaming")
      ->delimiter(',')
      ->capture_default_str();
  train->add_option("--activations", o->activations, "keep, recompute, auto")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember({"keep", "recompute", "auto"}));
  train->add_flag("--head", o->head, "With the head and the loss of two answer tokens");
  train->add_flag("--optimizer", o->optimizer, "With clipping and AdamW");
  train->footer("Example:\n  wavetape bench train --preset llama-1b --tokens 8192 --activations keep recompute");
  train->callback([o] { run_train(*o); });
  CLI::App* decode = command->add_subcommand("decode", "Greedy decoding behind a prompt");
  add_common(decode, *o, "Tokens of the prompt (default 2560: two segments closed, one open)");
  decode->add_option("--new-tokens", o->new_tokens, "Tokens to decode")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  decode->footer("Example:\n  wavetape bench decode --preset llama-1b --tokens 2560 --new-tokens 128");
  decode->callback([o] { run_decode(*o); });
  CLI::App* kernels = command->add_subcommand("kernels", "Every kernel at the shapes of a full wave, against limits");
  add_model(kernels, *o);
  kernels->footer("Example:\n  wavetape bench kernels --preset llama-1b");
  kernels->callback([o] { run_kernels(*o); });
  CLI::App* speedup = command->add_subcommand("speedup", "The diagonal schedule against the sequential one");
  add_shape(speedup, *o);
  add_tokens(speedup, *o, "Lengths to read (default 4096 to 1048576, times 4)");
  auto presets = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"llama-160m", "llama-1b"});
  auto plot = std::make_shared<std::string>();
  speedup->add_option("--presets", *presets, "Shapes, as in prefill")->delimiter(',')->capture_default_str();
  speedup->add_option("--plot", *plot, "Draw the ratios into this SVG file");
  speedup->footer("Example:\n  wavetape bench speedup --presets llama-160m llama-1b llama-3b --plot speedup.svg");
  speedup->callback([o, presets, plot] {
    if (o->tokens.empty()) o->tokens = {4096, 16384, 65536, 262144, 1048576};
    run_speedup(*o, *presets, *plot);
  });
  add_bench_chunking(*command);
  command->footer("Example:\n  wavetape bench prefill --preset llama-1b --tokens 131072 --schedule diagonal even");
}

}  // namespace wt
