// wavetape export: a run's best weights as a model folder that the published code loads, or its adapters alone.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "train/commands/commands.h"
#include "train/config.h"
#include "train/models/export_adapters.h"
#include "train/models/model_io.h"
#include "train/notice.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string run, output, base;
  bool adapters = false;
};

void run(const Options& o) {
  const ModelLocation location = find_model(o.run, print_notice);
  if (o.adapters) {
    std::string base = o.base;
    const std::string config = o.run + "/config.yaml";
    if (base.empty() && std::filesystem::exists(config)) base = load_config(config).model_from;
    const std::int64_t count = export_adapters(location, base, o.output);
    std::printf("%s: %lld adapters from %s\n", o.output.c_str(), static_cast<long long>(count),
                location.weights.c_str());
    return;
  }
  const auto model = load_model(location, DType::kF32);
  export_model(*model, location.tokenizer, o.output);
  std::printf("%s: %s parameters from %s\n", o.output.c_str(),
              human_count(static_cast<double>(model->parameters().count())).c_str(), location.weights.c_str());
}

}  // namespace

void add_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export", "Write a run's best weights as a model folder under the published names");
  command->add_option("RUN", o->run, "Run folder (or model folder)")->required();
  command->add_option("OUT_DIR", o->output, "Folder to make")->required();
  CLI::Option* adapters =
      command->add_flag("--adapters", o->adapters,
                        "Of a run with model.lora: adapter_model.safetensors and adapter_config.json as PEFT writes "
                        "them, not the merged weights");
  command->add_option("--base", o->base, "Base model that adapter_config.json names; default: the run's model.from")
      ->needs(adapters);
  command->footer(
      "Writes config.json, model.safetensors and the tokenizer; with memory also modeling_wavetape.py, by which "
      "Hugging\n"
      "Face's library loads the folder (trust_remote_code).\n"
      "Example:\n  wavetape export runs/quickstart exported/quickstart");
  command->callback([o] { run(*o); });
}

}  // namespace wt
