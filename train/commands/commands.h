// The subcommands of the program, one file each. `add_<command>` declares its options, help and example, and hangs its
// work on the subcommand's callback. A callback that returns means success; UsageError ends the program with code 2,
// any other exception with 1, each with one line on standard error.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace wt {

struct Config;

// Thrown by a callback that has said all there is to say and wants another exit code.
struct ExitWith {
  int code;
};

void add_train(CLI::App& program);
void add_eval(CLI::App& program);
void add_score(CLI::App& program);
void add_gptscore(CLI::App& program);
void add_report(CLI::App& program);
void add_forward(CLI::App& program);
void add_generate(CLI::App& program);
void add_data(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_plan(CLI::App& program);
void add_bench(CLI::App& program);
void add_bench_chunking(CLI::App& bench);
void add_export(CLI::App& program);
void add_import(CLI::App& program);
void add_convert(CLI::App& program);
void add_info(CLI::App& program);

// What `wavetape eval RUN --output RUN` does, on the device and in the dtype of the run, by the configuration's `eval`.
void evaluate_run(const Config& config);

// All of them, in the order of the help text.
void add_commands(CLI::App& program);

// For an option that the command on the command line does not have: ", did you mean --resume?", else which commands
// have it, else "". After a parse that failed.
std::string option_hint(const CLI::App& program);

}  // namespace wt
