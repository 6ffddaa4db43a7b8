// The program `wavetape`. Exit codes: 0 done, 1 failed, 2 the request was wrong.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/temporary.h"
#include "core/text.h"
#include "train/commands/commands.h"
#include "train/notice.h"
#include "train/output.h"
#include "train/run/startup.h"

namespace {

constexpr const char* kVersion = "wavetape 0.1.0";

int complain(const std::string& message, int code) {
  wt::print_notice(message);
  return code;
}

// "data babi" for the innermost subcommand that was named.
std::string command_of(const CLI::App& program) {
  std::string name = "wavetape";
  const CLI::App* at = &program;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    name += " " + at->get_name();
  }
  return name;
}

// The words after the program's name, last first, as CLI11 wants them. A shell expands ~/ only where a word begins: not
// in --output=~/x.
std::vector<std::string> words_of(int argc, char** argv) {
  const char* const home = std::getenv("HOME");
  std::vector<std::string> words;
  for (int i = argc - 1; i > 0; --i) {
    std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (home != nullptr && word.starts_with("--") && equals != std::string::npos &&
        word.compare(equals + 1, 2, "~/") == 0) {
      word.replace(equals + 1, 1, home);
    }
    words.push_back(std::move(word));
  }
  return words;
}

int run(int argc, char** argv) {
  CLI::App program("Trains and runs recurrent-memory transformers on very long contexts.", "wavetape");
  program.set_version_flag("--version", kVersion, "Print the version");
  program.require_subcommand(1);
  wt::add_commands(program);
  program.footer(
      "Example:\n  wavetape train configs/babilong_qa1_tiny.yaml\nHelp on a command:\n  wavetape COMMAND --help");
  if (argc <= 1) {
    std::fputs(program.help().c_str(), stderr);
    return 2;
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : program.get_subcommands({})) commands.push_back(command->get_name());
  const std::string first = argv[1];
  if (first.rfind('-', 0) != 0 && std::find(commands.begin(), commands.end(), first) == commands.end()) {
    return complain(wt::cat("no command '", first, "'", wt::did_you_mean(first, commands), " (see 'wavetape --help')"),
                    2);
  }
  try {
    program.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream text;
      program.exit(error, text, text);
      std::fputs(text.str().c_str(), stdout);
      return 0;
    }
    return complain(wt::cat(error.what(), wt::option_hint(program), " (see '", command_of(program), " --help')"), 2);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  wt::open_standard_streams();
  wt::limit_spinning(argv);
#ifdef __AVX2__
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) {
    return complain(
        "this CPU lacks AVX2, FMA or BMI2, which the program was built for; build with another WAVETAPE_MARCH", 1);
  }
#endif
  // A closed pipe or a file size limit is an error to report, not a reason to die in the middle of a checkpoint.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  wt::remove_temporaries_on_signals();
  try {
    wt::check_openmp();
    return wt::finish_output(run(argc, argv));
  } catch (const wt::ExitWith& exit) {
    return wt::finish_output(exit.code);
  } catch (const wt::ReaderGone&) {
    return wt::finish_output(0);
  } catch (const wt::UsageError& error) {
    std::fflush(stdout);
    return complain(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", 1);
  } catch (const std::filesystem::filesystem_error& error) {
    std::fflush(stdout);
    return complain(wt::cat(error.path1().string(), ": ", error.code().message()), 1);
  } catch (const std::system_error& error) {
    // fmt::print throws where standard output cannot be written.
    if (std::ferror(stdout) != 0 && error.code().value() == EPIPE) return 0;
    return complain(std::ferror(stdout) != 0 ? wt::cat("cannot write output: ", error.code().message()) : error.what(),
                    1);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    return complain(error.what(), 1);
  }
}
