#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "data/babi.h"
#include "data/babi_simulator.h"
#include "train/commands/commands.h"

namespace wt {
namespace {

struct BabiOptions {
  std::string task = "qa1";
  std::uint64_t stories = 1000;
  std::uint64_t seed = 1;
  std::string output;
};

void add_babi(CLI::App& data) {
  CLI::App* command = data.add_subcommand("babi", "Write simulated bAbI stories in bAbI's own file format");
  const auto options = std::make_shared<BabiOptions>();
  command->add_option("--task", options->task, "Task, qa1 to qa5")->capture_default_str();
  command->add_option("--stories", options->stories, "Number of stories")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Another seed gives other stories")->capture_default_str();
  command->add_option("--output", options->output, "File to write")->required();
  command->footer("Example:\n  wavetape data babi --task qa1 --stories 1000 --seed 1 --output qa1.txt");
  command->callback([=] {
    const auto stories = simulate_stories(options->task, options->seed, options->stories);
    write_babi(options->output, stories);
    int questions = 0;
    for (const BabiStory& story : stories) questions += story.num_questions();
    fmt::print("{}: {} stories, {} questions\n", options->output, stories.size(), questions);
  });
}

}  // namespace

void add_data(CLI::App& program) {
  CLI::App* data = program.add_subcommand("data", "Make stories, tokenised books and evaluation sets");
  data->require_subcommand(1);
  add_babi(*data);
}

}  // namespace wt
