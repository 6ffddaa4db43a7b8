// Ctrl-C, `kill` and a closed terminal as a request: the first SIGINT, SIGTERM or SIGHUP asks the program to save and
// stop, a second SIGINT or SIGTERM ends it at once. Not a second SIGHUP, nor the same signal again within a fifth of a
// second: shells, `timeout` and batch systems send one to the process and to its group. A signal that was ignored when
// the program started (nohup, a script's `&`) stays ignored.
#pragma once

#include <signal.h>

#include <array>

namespace wt {

// Thrown where work is given up for a signal.
struct Stopped {};

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
  void throw_if_requested() const {
    if (requested()) throw Stopped{};
  }

 private:
  std::array<struct sigaction, 3> before_{};
};

}  // namespace wt
