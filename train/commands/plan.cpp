// wavetape plan: the waves of a schedule as a picture.
#include "schedulers/plan.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "train/commands/commands.h"

namespace wt {
namespace {

struct Options {
  int layers = 4;
  std::vector<int> segments{8};
  std::string schedule = "diagonal";
  int width = 100;
};

void run(const Options& o) {
  const Plan plan = make_plan(schedule_from_name(o.schedule), o.layers, o.segments);
  check_plan(plan);
  std::printf("%s", draw_plan(plan, o.width).c_str());
  std::printf("%s: %lld cells in %zu waves, %.0f %% of full waves\n", o.schedule.c_str(),
              static_cast<long long>(plan.cells()), plan.waves.size(), 100 * plan.fill());
}

}  // namespace

void add_plan(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plan", "Draw the waves: which cells (layer, segment) run together");
  command->add_option("--layers", o->layers, "Layers of the model")->capture_default_str()->check(CLI::Range(1, 10000));
  command->add_option("--segments", o->segments, "Segments of the sequence, or of several sequences one after another")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 10000000));
  command->add_option("--schedule", o->schedule, "sequential, diagonal or streaming")->capture_default_str();
  command->add_option("--width", o->width, "Columns of the picture")
      ->capture_default_str()
      ->check(CLI::Range(20, 10000));
  command->footer("Example:\n  wavetape plan --layers 4 --segments 6 3 --schedule streaming");
  command->callback([o] { run(*o); });
}

}  // namespace wt
