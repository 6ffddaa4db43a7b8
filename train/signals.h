// Ctrl-C and `kill` as a request: the first SIGINT or SIGTERM asks the program to save and stop, the second ends it at
// once.
#pragma once

#include <signal.h>

namespace wt {

// Listens from construction to destruction, which puts back what was there before. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The first signal that came, or 0. The program's exit code is then 128 + that.
  int received() const;
  bool requested() const { return received() != 0; }

 private:
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
};

}  // namespace wt
