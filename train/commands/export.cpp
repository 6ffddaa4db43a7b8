// wavetape export: a run's best weights as a model folder that the published code loads.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "train/commands/commands.h"
#include "train/model_io.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string run, output;
};

void run(const Options& o) {
  const ModelLocation location =
      find_model(o.run, [](const std::string& line) { std::fprintf(stderr, "wavetape: %s\n", line.c_str()); });
  const auto model = load_model(location, DType::kF32);
  export_model(*model, location.tokenizer, o.output);
  std::printf("%s: %s parameters from %s\n", o.output.c_str(),
              human_count(static_cast<double>(model->parameters().count())).c_str(), location.weights.c_str());
}

}  // namespace

void add_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "export", "Write a run's best checkpoint as config.json, model.safetensors (published names) and tokenizer");
  command->add_option("run", o->run, "Run folder (or model folder)")->required();
  command->add_option("output", o->output, "Folder to make")->required();
  command->footer("Example: wavetape export runs/quickstart exported/quickstart");
  command->callback([o] { run(*o); });
}

}  // namespace wt
