#include "train/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

// Who starts the tests in the background may have these ignored, which stays so (below).
[[maybe_unused]] const bool kAreDefault = [] {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  return true;
}();

TEST(StopSignals, TheFirstIsARequest) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const StopSignals signals;
    EXPECT_FALSE(signals.requested());
    std::raise(signal);
    EXPECT_TRUE(signals.requested());
    EXPECT_EQ(signals.received(), signal);
  }
}

TEST(StopSignals, TheSecondEndsTheProgram) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const StopSignals signals;
    std::raise(SIGTERM);
    std::raise(SIGINT);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGINT);
}

// A shell and the system may each send one for a closed terminal, `timeout` sends SIGTERM twice at once.
TEST(StopSignals, TheSameOnceMoreAtOnceIsOneRequest) {
  const StopSignals signals;
  std::raise(SIGTERM);
  std::raise(SIGTERM);
  std::raise(SIGHUP);
  EXPECT_EQ(signals.received(), SIGTERM);
  EXPECT_THROW(signals.throw_if_requested(), Stopped);
}

TEST(StopSignals, AnIgnoredSignalStaysIgnored) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    auto* const before = std::signal(signal, SIG_IGN);
    {
      const StopSignals signals;
      std::raise(signal);
      EXPECT_FALSE(signals.requested());
    }
    EXPECT_EQ(std::signal(signal, before), SIG_IGN);
  }
}

int handled = 0;

TEST(StopSignals, PutBackWhatWasThere) {
  auto* const before = std::signal(SIGTERM, [](int) { ++handled; });
  {
    const StopSignals signals;
    EXPECT_ERROR(StopSignals(), Error, "only one StopSignals at a time");
    std::raise(SIGTERM);
    EXPECT_EQ(handled, 0);
  }
  std::raise(SIGTERM);
  EXPECT_EQ(handled, 1);
  std::signal(SIGTERM, before);
  const StopSignals again;
  EXPECT_FALSE(again.requested());
}

}  // namespace
}  // namespace wt
