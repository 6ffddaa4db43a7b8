#include "train/commands/commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace wt {
namespace {

std::vector<std::string> options_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// Names of the commands below that have the option: "eval, data babilong".
std::string commands_with(const CLI::App& command, const std::string& before, const std::string& option) {
  std::string found;
  const auto add = [&](const std::string& name) {
    if (!name.empty()) found += (found.empty() ? "" : ", ") + name;
  };
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    const std::vector<std::string> names = options_of(*sub);
    if (std::find(names.begin(), names.end(), option) != names.end()) add(before + sub->get_name());
    add(commands_with(*sub, before + sub->get_name() + " ", option));
  }
  return found;
}

}  // namespace

void add_commands(CLI::App& program) {
  add_train(program);
  add_eval(program);
  add_score(program);
  add_gptscore(program);
  add_report(program);
  add_forward(program);
  add_generate(program);
  add_data(program);
  add_tokenize(program);
  add_plan(program);
  add_bench(program);
  add_export(program);
  add_import(program);
  add_convert(program);
  add_info(program);
}

std::string option_hint(const CLI::App& program) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  for (const std::string& word : program.remaining(true)) {
    if (!word.starts_with("--")) continue;
    const std::string option = word.substr(0, word.find('='));
    if (const std::string near = did_you_mean(option, options_of(*command)); !near.empty()) return near;
    const std::string others = commands_with(program, "", option);
    if (!others.empty()) return cat(", ", option, " is an option of ", others);
  }
  return "";
}

}  // namespace wt
