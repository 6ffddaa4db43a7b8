// wavetape train: a run from its configuration to its evaluation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>

#include "core/memory.h"
#include "train/commands/commands.h"
#include "train/commands/seed_option.h"
#include "train/costs.h"
#include "train/notice.h"
#include "train/run/resume.h"
#include "train/run/run_setup.h"
#include "train/run/trainer.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false, dry_run = false, print_config = false, no_eval = false, smoke = false;
  std::int64_t max_steps = 0;
  std::vector<std::int64_t> seeds;
};

// What the run would be: sizes, memory, waves. All is checked that a start checks; nothing is written.
void dry_run(Config config) {
  const RunSetup setup = set_up_run(config);
  const Model& model = *setup.model;
  const std::int64_t trained = model.parameters().trainable_count();
  const ModelConfig& m = model.config();
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
      return estimate_memory(m, model.parameters().count(), stage.batch_size, segments, activations,
                             size_of(config.run.dtype), trained);
    };
    const MemoryEstimate memory = memory_with(config.train.activations);
    std::printf("# %-5lld %8lld %6lld %9lld %10.2e %6zu %7.0f %% %12s %12s", static_cast<long long>(++number),
                static_cast<long long>(segments), static_cast<long long>(stage.batch_size),
                static_cast<long long>(stage.steps), stage.lr, plan.waves.size(), 100 * plan.fill(),
                human_bytes(memory.activations).c_str(), human_bytes(memory.total()).c_str());
    if (may_recompute) std::printf(" %12s", human_bytes(memory_with(Activations::kRecompute).total()).c_str());
    std::printf("\n");
  }
  const Device device = model.stream().device();
  std::printf("# %s has %s free\n", device.str().c_str(), human_bytes(memory_capacity(device)).c_str());
  const auto segments = static_cast<int>(config.train.stages.back().max_segments());
  std::printf("\nWaves of the last stage, %s (cells show the segment):\n%s",
              std::string(name_of(config.train.wave_schedule)).c_str(),
              draw_plan(make_plan(config.train.wave_schedule, model.num_layers(), {segments})).c_str());
}

// The same run in small: two steps a stage, at its full size, with one validation and one length to evaluate.
Config in_small(Config config) {
  constexpr std::int64_t kSteps = 2, kSamples = 2;
  for (StageConfig& stage : config.train.stages) {
    stage.steps = std::min(stage.steps, kSteps);
    stage.warmup = std::min(stage.warmup, 1.0);
    stage.validation_samples = std::min(stage.validation_samples, kSamples);
  }
  config.train.log_every = 1;
  config.train.validate_every = 0;
  config.eval.samples = std::min(config.eval.samples, kSamples);
  if (!config.eval.lengths.empty()) config.eval.lengths.resize(1);
  config.run.dir += ".smoke";
  return config;
}

// The folder of a run in small, which nobody wants to keep.
class SmokeFolder {
 public:
  // Before the folder is made: one that is there is somebody's, and is not removed.
  explicit SmokeFolder(std::string path) : path_(std::move(path)) {
    if (std::filesystem::exists(path_)) {
      throw UsageError(cat(path_, ": exists already; --smoke makes and removes a folder of that name"));
    }
  }
  SmokeFolder(const SmokeFolder&) = delete;
  SmokeFolder& operator=(const SmokeFolder&) = delete;
  ~SmokeFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::string path_;
};

Config load_new(const Options& o) {
  if (is_run_folder(o.config)) throw UsageError(cat(o.config, ": is a run folder; go on in it with --resume"));
  return load_config(o.config, o.overrides);
}

// Calls start(), which sets a new run up. What is wrong then may be the configuration file's but for an override, which
// is named.
void start_new(const Options& o, const std::function<void()>& start) {
  try {
    start();
  } catch (const UsageError& error) {
    const std::string message = error.what();
    if (message.starts_with("command line: ")) throw;
    for (std::size_t i = 0; i < o.overrides.size(); ++i) {
      std::vector<std::string> others = o.overrides;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      try {
        Config without = load_config(o.config, others);
        set_up_run(without);
      } catch (const Error&) {
        continue;
      }
      throw UsageError(cat("command line: '", o.overrides[i], "': with it, ", message));
    }
    throw;
  }
}

void run(const Options& o) {
  std::optional<ResumedRun> resumed;
  if (o.resume) resumed.emplace(resume_run(o.config, o.overrides, print_notice));
  Config config = resumed ? resumed->config : load_new(o);
  if (o.smoke) config = in_small(std::move(config));
  if (o.print_config) {
    std::printf("%s", config_yaml(config).c_str());
    return;
  }
  if (o.dry_run) {
    if (!resumed) {
      RunFolder::refuse_run(config.run.dir);
      start_new(o, [&] { dry_run(config); });
    } else {
      dry_run(config);
      std::printf("\nGoes on from step %lld", static_cast<long long>(resumed->state.step));
      for (const ConfigChange& change : resumed->changes) std::printf("\n%s", change.str().c_str());
      std::printf("\n");
    }
    return;
  }
  std::optional<SmokeFolder> smoke;
  std::optional<Trainer> trainer;
  if (resumed) {
    trainer.emplace(std::move(*resumed), stdout);
  } else {
    if (o.smoke) smoke.emplace(config.run.dir);
    start_new(o, [&] { trainer.emplace(config, o.config, stdout); });
  }
  if (const int signal = trainer->run(o.max_steps); signal != 0) throw ExitWith{128 + signal};
  trainer.reset();
  if (!o.no_eval && !config.eval.lengths.empty()) evaluate_run(config);
}

// The same run with each seed, in folders of their own below the run's. With --resume those that have begun go on.
void run_seeds(const Options& o) {
  if (is_run_folder(o.config)) throw UsageError("--seeds: name the configuration; a run folder is of one seed");
  const std::string parent = load_config(o.config, o.overrides).run.dir;
  for (const std::int64_t seed : o.seeds) {
    Options one = o;
    const std::string folder = cat(parent, "/seed-", seed);
    one.resume = o.resume && is_run_folder(folder);
    if (one.resume) {
      one.config = folder;
    } else {
      for (const char* key : {"weights", "data", "dropout"}) one.overrides.push_back(cat("seed.", key, "=", seed));
      one.overrides.push_back(cat("run.dir=", folder));
    }
    print_notice(cat("seed ", seed, ": ", folder));
    run(one);
  }
}

}  // namespace

void add_train(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("train", "Train, or go on training, as a YAML file says");
  command->add_option("CONFIG", o->config, "The configuration, or with --resume a run folder")->required();
  command->add_option(
      "OVERRIDES", o->overrides,
      "key=value, for example train.stages.0.steps=100 data.books=DIR; 'wavetape info --config-reference' lists the "
      "keys");
  command->add_flag(
      "--resume", o->resume,
      "Go on from the run folder's newest checkpoint, with the configuration it holds; overrides change what "
      "may still change");
  command->add_flag("--dry-run", o->dry_run,
                    "Check everything; print the resolved configuration, sizes, a memory estimate and the waves");
  command->add_flag("--print-config", o->print_config, "Print the resolved configuration");
  command->add_option("--max-steps", o->max_steps, "Stop, and save, when the run has taken so many steps")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}));
  command
      ->add_flag("--smoke", o->smoke,
                 "Try the run out: two steps of every stage at its full size, a small validation and evaluation, in "
                 "RUN.smoke, which is removed")
      ->excludes("--resume");
  command
      ->add_option(
          "--seeds", o->seeds,
          "1,2,3: train once with each of these seeds, one after another, in RUN/seed-N; 'wavetape report RUN/seed-*' "
          "shows them as mean and band")
      ->delimiter(',')
      ->allow_extra_args(false)  // or it would take the overrides behind it
      ->check(seed_check());
  command->add_flag("--no-eval", o->no_eval, "Leave out the evaluation after training");
  command->footer("Example:\n  wavetape train configs/babilong_qa1_tiny.yaml run.dir=runs/first data.babi=DIR/en-10k");
  command->callback([o] { o->seeds.empty() ? run(*o) : run_seeds(*o); });
}

}  // namespace wt
