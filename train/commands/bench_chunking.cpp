// wavetape bench chunking: prompts read chunk by chunk, with the state handed on or not.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "layers/families/family.h"
#include "train/bench/bench.h"
#include "train/bench/chunking.h"
#include "train/commands/commands.h"
#include "train/models/model_io.h"
#include "train/units.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string preset = "bamba-9b", model, dtype = "bf16", device = "auto", json, plots;
  std::int64_t layers = 0, new_tokens = 100;
  std::vector<std::int64_t> chunks{64, 128, 256, 512}, prompts{256, 1024, 4096, 16384, 65536, 131072};
  std::vector<std::string> strategies{"passed", "independent"}, caches{"on"};
  int repeats = 3;
};

// A model that reads by `strategy`: a folder's, or a preset's with random weights.
std::unique_ptr<Model> model_of(const Options& o, const std::string& strategy, const Stream& stream) {
  const ReadingOptions reading{.segment_size = o.chunks.front(), .passes_state = strategy == "passed"};
  const DType dtype = dtype_from_name(o.dtype);
  if (!o.model.empty()) return load_model(find_model(o.model), dtype, stream, WeightUse::kInference, reading);
  ModelConfig config = preset_model(o.preset);
  if (o.layers > 0) keep_layers(config, o.layers);
  apply(reading, config);
  auto model = std::make_unique<Model>(config, computing_dtype(stream.device(), dtype), stream, WeightUse::kInference);
  model->parameters().initialize(1);
  return model;
}

void print_row(const ChunkingRow& row) {
  std::printf("%-12s %6lld %5s %8lld %7lld %10.1f %10.3f %10.2f %10.1f %10s\n", row.of.strategy().c_str(),
              static_cast<long long>(row.of.chunk), row.of.cached ? "on" : "off", static_cast<long long>(row.of.prompt),
              static_cast<long long>(row.chunks), 1e3 * row.first_token, row.latency, 1e3 * row.between_tokens,
              row.tokens_per_second, human_bytes(row.peak_bytes).c_str());
  std::fflush(stdout);
}

nlohmann::ordered_json json_of(const ChunkingRow& row) {
  return {{"strategy", row.of.strategy()},
          {"chunk_size", row.of.chunk},
          {"use_cache", row.of.cached},
          {"prompt_tokens", row.of.prompt},
          {"chunks", row.chunks},
          {"new_tokens", row.of.new_tokens},
          {"time_to_first_token", row.first_token},
          {"latency", row.latency},
          {"inter_token", row.between_tokens},
          {"tokens_per_second", row.tokens_per_second},
          {"peak_bytes", row.peak_bytes}};
}

void run(const Options& o) {
  const Stream stream(device_for(o.device, dtype_from_name(o.dtype)));
  std::vector<ChunkingRow> rows;
  const std::string what = o.model.empty() ? o.preset : o.model, device = device_text(stream.device());
  std::string subtitle;
  for (const std::string& strategy : o.strategies) {
    const std::unique_ptr<Model> model = model_of(o, strategy, stream);
    if (rows.empty()) {
      subtitle = cat(what, ", ", model->num_layers(), " layers, ", device, ", ", name_of(model->dtype()), ", ",
                     o.new_tokens, " new tokens");
      std::printf("%s\n%-12s %6s %5s %8s %7s %10s %10s %10s %10s %10s\n", subtitle.c_str(), "strategy", "chunk",
                  "cache", "prompt", "chunks", "first, ms", "all, s", "each, ms", "tokens/s", "memory");
    }
    for (const std::string& cache : o.caches) {
      for (const std::int64_t chunk : o.chunks) {
        for (const std::int64_t prompt : o.prompts) {
          rows.push_back(bench_chunking(*model,
                                        {.passes_state = strategy == "passed",
                                         .cached = cache == "on",
                                         .chunk = chunk,
                                         .prompt = prompt,
                                         .new_tokens = o.new_tokens},
                                        o.repeats));
          print_row(rows.back());
        }
      }
    }
  }
  if (!o.json.empty()) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const ChunkingRow& row : rows) list.push_back(json_of(row));
    const nlohmann::ordered_json all{{"model", what}, {"device", device}, {"dtype", o.dtype}, {"rows", list}};
    write_file(o.json, all.dump(2) + "\n");
  }
  if (o.plots.empty()) return;
  make_folders(o.plots);
  for (const ChunkingPicture& picture : chunking_pictures(rows, subtitle)) {
    write_file((fs::path(o.plots) / (picture.name + ".svg")).string(), picture.svg);
  }
}

}  // namespace

void add_bench_chunking(CLI::App& bench) {
  auto o = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand(
      "chunking", "Prompts read chunk by chunk by Mamba-2 layers: time to first token, tokens a second, memory");
  auto* preset = command->add_option("--preset", o->preset, preset_names() + "; random weights")->capture_default_str();
  auto* layers = command->add_option("--layers", o->layers, "Only the lowest so many layers of the preset")
                     ->check(CLI::Range(1, 1000));
  command->add_option("--model", o->model, "A model folder instead")->excludes(preset)->excludes(layers);
  const auto size = CLI::Range(std::int64_t{1}, std::int64_t{1} << 26);
  command->add_option("--chunk-size", o->chunks, "Tokens that are read at once")
      ->delimiter(',')
      ->capture_default_str()
      ->check(size);
  command
      ->add_option("--strategy", o->strategies,
                   "passed: the state goes from chunk to chunk, exact; independent: every chunk's scan begins anew, an "
                   "approximation")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember({"passed", "independent"}));
  command->add_option("--prompt", o->prompts, "Tokens of the prompt")
      ->delimiter(',')
      ->capture_default_str()
      ->check(size);
  command->add_option("--new-tokens", o->new_tokens, "Tokens to generate behind it")
      ->capture_default_str()
      ->check(size);
  command
      ->add_option("--use-cache", o->caches, "on: what was read is kept; off: every token reads the whole text again")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember({"on", "off"}));
  command->add_option("--repeats", o->repeats, "Timed runs, behind one that is not; the median is shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--dtype", o->dtype, "What to compute in")
      ->capture_default_str()
      ->check(CLI::IsMember({"bf16", "f32", "f64"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--json", o->json, "Write everything to this file, too");
  command->add_option("--plots", o->plots, "Folder for an SVG of each measure by prompt length");
  command->footer(
      "Example:\n  wavetape bench chunking --preset bamba-9b --layers 4 --chunk-size 64 128 256 512 \\\n"
      "    --strategy passed independent --prompt 256 4096 131072 --new-tokens 100 --plots chunking");
  command->callback([o] { run(*o); });
}

}  // namespace wt
