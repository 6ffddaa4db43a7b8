// wavetape report: runs as one HTML page.
#include "train/report/report.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "core/error.h"
#include "core/files.h"
#include "train/commands/commands.h"
#include "train/notice.h"

namespace wt {
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string output = "report.html", title;
};

void run(const Options& o) {
  const std::vector<RunRecord> runs = read_runs(o.runs);
  std::string title = o.title;
  if (title.empty()) title = runs.size() == 1 ? runs.front().name : cat(runs.size(), " runs");
  for (const RunRecord& record : runs) {
    for (const std::string& note : record.notes) print_notice(cat(record.name, ": ", note));
  }
  write_file(o.output, report_html(title, runs));
  std::printf("%s: %zu run%s\n", o.output.c_str(), runs.size(), runs.size() == 1 ? "" : "s");
}

}  // namespace

void add_report(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("report", "Show runs side by side on one HTML page");
  command->add_option("RUN", o->runs, "Run folders")->required();
  command->add_option("--output", o->output, "The page to write")->capture_default_str();
  command->add_option("--title", o->title, "Its heading (default: the run's name, or how many runs)");
  command->footer(
      "Curves come from metrics.jsonl; accuracy and answers from eval.json and answers.csv, which the evaluation at\n"
      "the end of 'wavetape train' leaves in the run folder, and 'wavetape eval RUN --output RUN' makes anew.\n"
      "Example:\n  wavetape report runs/quickstart runs/other --output report.html");
  command->callback([o] { run(*o); });
}

}  // namespace wt
