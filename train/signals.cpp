#include "train/signals.h"

#include <unistd.h>

#include <atomic>

#include "core/error.h"
#include "core/temporary.h"

namespace wt {
namespace {

static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");
std::atomic<int> first_signal{0};
std::atomic<bool> listening{false};

// Only async-signal-safe calls: an atomic exchange, write, _exit.
void handle(int signal) {
  int none = 0;
  if (first_signal.compare_exchange_strong(none, signal)) {
    constexpr char kText[] = "\nstopping after this step; once more to stop at once\n";
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    return;
  }
  remove_temporaries();
  ::_exit(128 + signal);
}

}  // namespace

StopSignals::StopSignals() {
  WT_CHECK(!listening.exchange(true), "only one StopSignals at a time");
  first_signal = 0;
  struct sigaction action {};
  action.sa_handler = handle;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &before_int_);
  ::sigaction(SIGTERM, &action, &before_term_);
}

StopSignals::~StopSignals() {
  ::sigaction(SIGINT, &before_int_, nullptr);
  ::sigaction(SIGTERM, &before_term_, nullptr);
  listening = false;
}

int StopSignals::received() const {
  return first_signal;
}

}  // namespace wt
