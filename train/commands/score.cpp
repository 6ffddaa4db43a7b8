// wavetape score: accuracy of a folder of results, by BABILong's metric.
#include "train/eval/score.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "core/files.h"
#include "train/commands/commands.h"
#include "train/notice.h"

namespace wt {
namespace {

struct Options {
  std::string folder, output, plot, title = "BABILong accuracy";
};

void run(const Options& o) {
  const std::vector<ScoreCell> cells = score_folder(o.folder, print_notice);
  std::printf("%s", score_table(cells).c_str());
  if (!o.output.empty()) write_file(o.output, score_csv(cells));
  if (!o.plot.empty()) write_file(o.plot, heatmap_svg(o.title, score_panels(cells)));
}

}  // namespace

void add_score(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("score", "Score a folder of results in the layout of BABILong's leaderboard");
  command->add_option("DIR", o->folder, "Folder of TASK_LENGTH_CONFIG.csv with columns target, output, question")
      ->required();
  command->add_option("--output", o->output, "CSV to write: task, length, config, samples, correct, accuracy");
  command->add_option("--plot", o->plot, "SVG to write: a heatmap of tasks and lengths");
  command->add_option("--title", o->title, "Heading of the plot")->capture_default_str();
  command->footer("Example:\n  wavetape score results --output scores.csv --plot scores.svg");
  command->callback([o] { run(*o); });
}

}  // namespace wt
