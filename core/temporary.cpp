#include "core/temporary.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <random>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/utf8.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".tmp";
constexpr std::size_t kDigits = 8;
// With the parts around it far below 255 bytes, which most file systems allow (143 where they encrypt names).
constexpr std::size_t kLongestStem = 100;

// What a signal handler may look at: no allocation, no locks. A path that is too long is not listed.
struct Slot {
  std::atomic<bool> taken{false}, listed{false};
  std::array<char, 4096> path{};
};
std::array<Slot, 32> slots;

int list_for_signals(const std::string& path) {
  if (path.size() >= slots[0].path.size()) return -1;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].taken.exchange(true)) continue;
    std::memcpy(slots[i].path.data(), path.c_str(), path.size() + 1);
    slots[i].listed = true;
    return static_cast<int>(i);
  }
  return -1;
}

void strike_off(int slot) {
  if (slot < 0) return;
  slots[static_cast<std::size_t>(slot)].listed = false;
  slots[static_cast<std::size_t>(slot)].taken = false;
}

// Unlinks what is in the folder; no folders in it. Async-signal-safe, which opendir() is not.
void empty_folder(const char* path) noexcept {
  const int folder = ::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return;
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[1];
  };
  alignas(8) char buffer[4096];
  // From the beginning after each round: what was unlinked may have moved the rest.
  for (bool removed = true; removed;) {
    removed = false;
    if (::lseek(folder, 0, SEEK_SET) != 0) break;
    long count = 0;
    while ((count = ::syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0) {
      for (long at = 0; at < count;) {
        const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
        const char* name = buffer + at + offsetof(Entry, name);
        removed = ::unlinkat(folder, name, 0) == 0 || removed;
        at += entry->length;
      }
    }
  }
  ::close(folder);
}

std::string prefix_of(const fs::path& target) {
  std::string stem = target.filename().string();
  if (stem.size() > kLongestStem) {
    stem.resize(kLongestStem);
    if (const std::size_t valid = utf8_valid_until(stem, 0); valid + 4 > kLongestStem) stem.resize(valid);
  }
  return cat(".", stem, ".wt-");
}

bool is_temporary_name(std::string_view name, std::string_view prefix) {
  if (name.size() != prefix.size() + kDigits + kEnding.size() || !name.starts_with(prefix) || !name.ends_with(kEnding))
    return false;
  return name.substr(prefix.size(), kDigits).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string random_digits() {
  static thread_local std::random_device source;
  std::string digits;
  for (std::uint32_t value = source(); digits.size() < kDigits; value >>= 4) digits += "0123456789abcdef"[value & 15u];
  return digits;
}

// What programs that were killed left here for the same target. Whatever goes wrong with it is no harm to the new one.
void remove_stale(const std::string& folder, const std::string& prefix) {
  std::error_code problem;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end; it.increment(problem)) {
    const fs::path& path = it->path();
    if (!is_temporary_name(path.filename().string(), prefix)) continue;
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    std::error_code ignored;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) fs::remove_all(path, ignored);
    ::close(descriptor);
  }
}

void end_by_signal(int signal) {
  const int reason = errno;
  remove_temporaries();
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(signal, &standard, nullptr);
  ::raise(signal);  // comes when this handler returns
  errno = reason;
}

}  // namespace

Temporary::Temporary(const std::string& target, Kind kind, mode_t mode) : kind_(kind) {
  const fs::path parent = fs::path(target).parent_path();
  const std::string prefix = prefix_of(target);
  remove_stale(parent.empty() ? "." : parent.string(), prefix);
  do {
    path_ = (parent / cat(prefix, random_digits(), kEnding)).string();
    slot_ = list_for_signals(path_);
    if (make(mode)) return;
    const int reason = errno;
    strike_off(slot_);
    if (reason != EEXIST) throw Error(cat("cannot write ", target, ": ", std::strerror(reason)));
  } while (true);
}

// False with EEXIST: another name is needed.
bool Temporary::make(mode_t mode) {
  if (kind_ == Kind::kFolder) {
    if (::mkdir(path_.c_str(), mode) != 0) return false;
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  } else {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  }
  if (descriptor_ < 0) {
    const int reason = errno;
    if (kind_ == Kind::kFolder) ::rmdir(path_.c_str());  // a umask that takes the right to read it
    errno = reason;
    return false;
  }
  // Where the file system has no locks, nobody can take it for one that was left behind.
  const bool taken = ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  struct stat status {};
  if (!taken && ::fstat(descriptor_, &status) == 0 && status.st_nlink > 0) return true;
  remove_file_or_folder();  // a process that cleans up came between
  errno = EEXIST;
  return false;
}

Temporary::~Temporary() {
  if (!path_.empty()) remove_file_or_folder();
  if (descriptor_ >= 0) ::close(descriptor_);
  strike_off(slot_);
}

void Temporary::remove_file_or_folder() noexcept {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void Temporary::rename_to(const std::string& path) {
  if (::rename(path_.c_str(), path.c_str()) != 0) throw Error(cat("cannot write ", path, ": ", std::strerror(errno)));
  path_.clear();
}

void remove_temporaries() noexcept {
  for (Slot& slot : slots) {
    if (!slot.listed.exchange(false) || ::unlink(slot.path.data()) == 0 || errno == ENOENT) continue;
    // A thread that still fills the folder loses the race after some rounds: the program ends.
    for (int round = 0; round < 3; ++round) {
      empty_folder(slot.path.data());
      if (::rmdir(slot.path.data()) == 0) break;
    }
  }
}

void remove_temporaries_on_signals() {
  struct sigaction action {
  }, before{};
  action.sa_handler = end_by_signal;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {
      ::sigaction(signal, &action, nullptr);
    }
  }
}

}  // namespace wt
