#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/file_reader.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// One call never writes more: Linux stops at 2 GiB - 4096.
constexpr std::size_t kMaxWrite = std::size_t{1} << 30;

// A descriptor of this process that the path names (/dev/stdout, /dev/fd/3), or -1. To open such a path would begin its
// file anew, where the shell's >> goes on behind what is there.
int descriptor_of(std::string path) {
  // Links one by one: the last one, whose target is no path, is not followed.
  for (int links = 0; links < 40; ++links) {
    for (const std::string_view folder : {std::string_view("/proc/self/fd/"), std::string_view("/dev/fd/")}) {
      if (!path.starts_with(folder)) continue;
      int number = -1;
      const char *first = path.data() + folder.size(), *last = path.data() + path.size();
      const auto [end, problem] = std::from_chars(first, last, number);
      return problem == std::errc() && end == last ? number : -1;
    }
    std::error_code problem;
    const fs::path target = fs::read_symlink(path, problem);
    if (problem) return -1;
    path = (fs::path(path).parent_path() / target).lexically_normal().string();
  }
  return -1;
}

// The path with the links of its last part resolved, whether there is a file at the end or not.
std::string through_links(const std::string& path) {
  fs::path at(path);
  std::error_code problem;
  for (int links = 0; fs::is_symlink(at, problem); ++links) {
    if (links == 40) throw Error(cat("cannot write ", path, ": ", std::strerror(ELOOP)));
    at = at.parent_path() / fs::read_symlink(at);
  }
  return at.string();
}

}  // namespace

void read_pieces(const std::string& path, const std::function<void(std::string_view)>& piece) {
  FileReader file(path);
  for (std::string_view next = file.next(); !next.empty(); next = file.next()) piece(next);
}

std::string read_file(const std::string& path) {
  std::string text;
  try {
    read_pieces(path, [&](std::string_view piece) { text += piece; });
  } catch (const std::bad_alloc&) {
    throw Error(
        cat(path, ": too large for this machine's memory, of which the first ", text.size(), " bytes took all"));
  }
  return text;
}

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

void make_folders(const std::string& path) {
  std::error_code problem;
  if (fs::is_directory(path, problem)) return;
  fs::path folder(path);
  if (!folder.has_filename()) folder = folder.parent_path();  // "runs/x/"
  const std::string parent = folder_of(folder.string());
  if (parent != folder) make_folders(parent);
  if (!fs::create_directory(folder, problem) && problem) {
    throw Error(cat("cannot make folder ", path, ": ", problem.message()));
  }
  sync_folder(parent);
}

void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 && errno == EACCES) return;  // one that may be written to, but not listed
  if (descriptor < 0) throw Error(cat("cannot open folder ", folder, ": ", std::strerror(errno)));
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  // Some network file systems cannot flush a folder and say EINVAL; there is nothing more to be done on those.
  if (result != 0 && reason != EINVAL) throw Error(cat("cannot flush folder ", folder, ": ", std::strerror(reason)));
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  if (const int given = descriptor_of(path_); given >= 0) {
    open_directly(::fcntl(given, F_DUPFD_CLOEXEC, 0));
    is_given_ = true;
    return;
  }
  struct stat status {};
  const bool exists = ::stat(path_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) throw Error(cat("cannot write ", path_, ": it is a folder"));
  if (exists && !S_ISREG(status.st_mode)) {
    open_directly(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    return;
  }
  path_ = through_links(path_);  // renaming would replace the link itself
  temporary_ = std::make_unique<Temporary>(path_, Temporary::Kind::kFile, exists ? status.st_mode & 0777 : 0666);
  if (!exists) return;
  struct stat made {};
  const int file = temporary_->descriptor();
  if (::fstat(file, &made) != 0) fail("cannot write ");
  // The owner first: a change of it takes special bits off the mode. Who may not give files away keeps them.
  if (made.st_uid != status.st_uid || made.st_gid != status.st_gid) {
    [[maybe_unused]] const int ignored = ::fchown(file, status.st_uid, status.st_gid);
  }
  if ((made.st_mode & 07777) != (status.st_mode & 07777) && ::fchmod(file, status.st_mode & 07777) != 0) {
    fail("cannot write ");
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AtomicFile::open_directly(int descriptor) {
  descriptor_ = descriptor;
  if (descriptor_ < 0) fail("cannot write ");
}

void AtomicFile::fail(const char* what) const {
  throw Error(cat(what, path_, ": ", std::strerror(errno)));
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const int file = temporary_ ? temporary_->descriptor() : descriptor_;
  const char* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(file, at, std::min(count, kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE && is_given_) throw ReaderGone(cat(path_, ": ", std::strerror(errno)));
    if (written < 0) fail("cannot write ");
    at += written;
    count -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit_as(const std::string& path) {
  if (!temporary_) {
    // A pipe or terminal needs no flushing; some say EINVAL or ENOTSUP to it.
    const int result = ::close(descriptor_);
    descriptor_ = -1;
    if (result != 0) fail("cannot write ");
    return;
  }
  if (::fsync(temporary_->descriptor()) != 0) fail("cannot flush ");
  temporary_->rename_to(path);
  temporary_.reset();
  sync_folder(folder_of(path));
}

std::string unfinished_path(const std::string& path) {
  constexpr std::size_t kLongest = 240;  // of a name that gets an ending; 255 bytes are allowed
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) return path;
  const std::string whole = through_links(path);
  if (!exists) return whole;
  const fs::path file(whole);
  const std::string beside = (file.parent_path() / file.filename().string().substr(0, kLongest)).string();
  for (int number = 1;; ++number) {
    const std::string free = cat(beside, ".partial", number == 1 ? "" : std::to_string(number));
    if (::lstat(free.c_str(), &status) != 0) return free;
  }
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace wt
