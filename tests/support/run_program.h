// Runs the built program and catches what it prints.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/temp_folder.h"

namespace wt {

struct ProgramResult {
  int code = -1;  // exit code; 128 + signal where it was killed
  std::string out, err;
};

// `arguments` are shell words: quote what needs it. `before` stands in front of the program's name ("ulimit -f 1;").
inline ProgramResult run_program(const std::string& arguments, const std::string& before = "") {
  static const TempFolder cache;  // of tokenised books: the user's own is left alone
  ::setenv("WAVETAPE_CACHE", cache.path().c_str(), 0);
  const TempFolder folder;
  const std::string command = before + " '" WAVETAPE_PROGRAM "' " + arguments;
  write_file(folder / "script", command + "\n");
  const int status =
      std::system(cat("bash '", folder / "script", "' >'", folder / "out", "' 2>'", folder / "err", "'").c_str());
  WT_CHECK(status != -1, "cannot run ", command);
  ProgramResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file(folder / "out");
  result.err = read_file(folder / "err");
  return result;
}

}  // namespace wt
