#include "train/signals.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "core/error.h"
#include "core/temporary.h"

namespace wt {
namespace {

static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");
std::atomic<int> first_signal{0};
std::atomic<std::int64_t> first_time{0};
std::atomic<bool> listening{false};

constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};

// Milliseconds of a clock that is never set.
std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// Only async-signal-safe calls: atomic exchanges, clock_gettime, write, _exit.
void handle(int signal) {
  int none = 0;
  if (first_signal == 0) first_time = now();
  if (first_signal.compare_exchange_strong(none, signal)) {
    constexpr char kText[] = "\nstopping; once more to stop at once\n";
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    return;
  }
  if (signal == SIGHUP || (signal == none && now() - first_time < 200)) return;
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
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  listening = false;
}

int StopSignals::received() const {
  return first_signal;
}

}  // namespace wt
