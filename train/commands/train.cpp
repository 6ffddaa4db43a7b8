// wavetape train: a run from its configuration to its evaluation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "train/commands/commands.h"
#include "train/costs.h"
#include "train/freeze.h"
#include "train/models/model_io.h"
#include "train/trainer.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false, dry_run = false, print_config = false, no_eval = false;
};

// What the run would be: sizes, memory, waves. Nothing is written.
void dry_run(Config config) {
  const Tokenizer tokenizer = load_tokenizer(config);
  Model model(resolve_model(config, tokenizer), DType::kF32);
  fit_schedule(config, model.config());
  freeze_parameters(model, config.train.freeze, [&](std::size_t pattern, const std::string& what) {
    config.places.fail(cat("train.freeze.", pattern), what);
  });
  const std::int64_t trained = model.parameters().trainable_count();
  const ModelConfig& m = model.config();
  const DType dtype = computing_dtype(device_for(config.run.device, config.run.dtype), config.run.dtype);
  std::printf("%s", config_yaml(config).c_str());
  std::printf("\n# %s parameters", human_count(static_cast<double>(model.parameters().count())).c_str());
  if (trained < model.parameters().count()) {
    std::printf(", %s of them train", human_count(static_cast<double>(trained)).c_str());
  }
  std::printf("\n");
  // With `auto` the tape keeps what there is room for: "memory" is with all of it, "at least" with none.
  const bool may_recompute = config.train.activations == Activations::kAuto;
  std::printf("# %-5s %8s %6s %9s %10s %6s %9s %12s %12s", "stage", "segments", "batch", "steps", "lr", "waves", "fill",
              "activations", "memory");
  if (may_recompute) std::printf(" %12s", "at least");
  std::printf("\n");
  std::int64_t number = 0;
  for (const StageConfig& stage : config.train.stages) {
    const std::int64_t segments = stage.max_segments();
    const Plan plan = make_plan(config.train.wave_schedule, model.num_layers(), {static_cast<int>(segments)});
    const auto memory_with = [&](Activations activations) {
      return estimate_memory(m, model.parameters().count(), stage.batch_size, segments, activations, size_of(dtype),
                             trained);
    };
    const MemoryEstimate memory = memory_with(config.train.activations);
    std::printf("# %-5lld %8lld %6lld %9lld %10.2e %6zu %7.0f %% %12s %12s", static_cast<long long>(++number),
                static_cast<long long>(segments), static_cast<long long>(stage.batch_size),
                static_cast<long long>(stage.steps), stage.lr, plan.waves.size(), 100 * plan.fill(),
                human_bytes(memory.activations).c_str(), human_bytes(memory.total()).c_str());
    if (may_recompute) std::printf(" %12s", human_bytes(memory_with(Activations::kRecompute).total()).c_str());
    std::printf("\n");
  }
  if (!config.train.stages.empty()) {
    const auto segments = static_cast<int>(config.train.stages.back().max_segments());
    std::printf("\nWaves of the last stage, %s (cells show the segment):\n%s",
                std::string(name_of(config.train.wave_schedule)).c_str(),
                draw_plan(make_plan(config.train.wave_schedule, model.num_layers(), {segments})).c_str());
  }
}

void run(const Options& o) {
  const Config config = load_config(o.config, o.overrides);
  if (o.print_config) {
    std::printf("%s", config_yaml(config).c_str());
    return;
  }
  if (o.dry_run) {
    dry_run(config);
    return;
  }
  if (const int signal = Trainer(config, o.resume, stdout).run(); signal != 0) throw ExitWith{128 + signal};
  if (!o.no_eval && !config.eval.lengths.empty()) evaluate_run(config);
}

}  // namespace

void add_train(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("train", "Train, or go on training, as a YAML file says");
  command->add_option("config", o->config, "The configuration")->required();
  command->add_option("overrides", o->overrides, "key=value, for example train.stages.0.steps=100 data.books=DIR");
  command->add_flag("--resume", o->resume, "Go on from the run folder's newest checkpoint");
  command->add_flag("--dry-run", o->dry_run,
                    "Check everything; print the resolved configuration, sizes, a memory estimate and the waves");
  command->add_flag("--print-config", o->print_config, "Print the resolved configuration");
  command->add_flag("--no-eval", o->no_eval, "Leave out the evaluation after training");
  command->footer("Example: wavetape train configs/babilong_qa1_tiny.yaml run.dir=runs/first data.babi=DIR/en-10k");
  command->callback([o] { run(*o); });
}

}  // namespace wt
