#include "train/run/startup.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/text.h"

namespace wt {
namespace {

// As run.threads; more do not fit on the stack of the thread that starts them.
constexpr int kMostThreads = 4096;
constexpr std::int64_t kLeastStack = 512 * 1024;

// A size as OMP_STACKSIZE has it: KiB without a unit. Nothing for what OpenMP does not take either.
std::optional<std::int64_t> stack_bytes(std::string_view text) {
  text = trimmed(text);
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || value <= 0) return std::nullopt;
  const std::string_view unit = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
  if (unit.size() > 1) return std::nullopt;
  constexpr std::string_view kUnits = "bkmg";
  const char letter = unit.empty() ? 'k' : static_cast<char>(unit[0] | 0x20);
  const std::size_t power = kUnits.find(letter);
  if (power == std::string_view::npos) return std::nullopt;
  constexpr std::int64_t kEnough = std::int64_t{1} << 40;
  for (std::size_t i = 0; i < power && value < kEnough; ++i) value *= 1024;
  return value;
}

// Whether a number of threads in OMP_NUM_THREADS' form (of nested regions too, with commas) begins with too large a
// one.
bool too_many(std::string_view text) {
  text = trimmed(text.substr(0, text.find(',')));
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return false;
  return problem == std::errc::result_out_of_range || (problem == std::errc() && value > kMostThreads);
}

}  // namespace

void open_standard_streams() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    // open() takes the lowest number that is free, which is this one.
    if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) {
      [[maybe_unused]] const int same = ::open("/dev/null", O_RDWR);
    }
  }
}

// OpenMP's own default, milliseconds of spinning, takes the core that another program needs, and the work waits for it
// in turn: on two cores that two other programs used, quickstart's model trained at 4 to 8 thousand tokens/s with it
// and at 8 to 11 with this (29 alone, with both). Sleeping at once costs a third of that.
void limit_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  // The first is GCC's library's; LLVM's counts milliseconds (200 by default), and sleeps at once for none.
  if (::setenv("GOMP_SPINCOUNT", "20000", 0) != 0 || ::setenv("KMP_BLOCKTIME", "1", 0) != 0) return;
  constexpr const char* kSelf = "/proc/self/exe";
  std::error_code problem;
  const std::filesystem::path program = std::filesystem::read_symlink(kSelf, problem);
  // By its path, so that ps and top show its name and not "exe".
  if (!problem) ::execv(program.c_str(), argv);
  ::execv(kSelf, argv);  // a file that was replaced since; where this fails too: as it is
}

void check_openmp() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  // Before OpenMP is asked: LLVM's library dies of a number that no int holds.
  const bool asked = text != nullptr && std::getenv("OMP_THREAD_LIMIT") == nullptr && too_many(text);
  if (asked || std::min(omp_get_max_threads(), omp_get_thread_limit()) > kMostThreads) {
    throw UsageError(cat("OMP_NUM_THREADS is ", text == nullptr ? "not set" : text, ", expected at most ", kMostThreads,
                         " threads (", std::thread::hardware_concurrency(), " run at once here)"));
  }
  for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
    const char* size = std::getenv(name);
    if (size == nullptr) continue;
    if (const auto bytes = stack_bytes(size); bytes && *bytes < kLeastStack) {
      throw UsageError(cat(name, " is ", size, ", expected at least ", kLeastStack / 1024, "k: the stack of a thread"));
    }
  }
}

}  // namespace wt
