#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file_reader.h"

namespace wt {
namespace {

// One call never writes more: Linux stops at 2 GiB - 4096.
constexpr std::size_t kMaxWrite = std::size_t{1} << 30;

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
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

void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw Error(cat("cannot open folder ", folder, ": ", std::strerror(errno)));
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  // Some network file systems cannot flush a folder and say EINVAL; there is nothing more to be done on those.
  if (result != 0 && reason != EINVAL) throw Error(cat("cannot flush folder ", folder, ": ", std::strerror(reason)));
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  const bool exists = ::stat(path_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) throw Error(cat("cannot write ", path_, ": it is a folder"));
  if (exists && !S_ISREG(status.st_mode)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    // Through a symbolic link to the file it names: renaming would replace the link itself.
    if (exists) path_ = std::filesystem::canonical(path_).string();
    const std::filesystem::path target(path_);
    temporary_ = (target.parent_path() / cat(".", target.filename().string(), ".", ::getpid(), ".tmp")).string();
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  }
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("cannot write ");
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what) {
  throw Error(cat(what, path_, ": ", std::strerror(errno)));
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const char* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, at, std::min(count, kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write ");
    at += written;
    count -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  // A pipe or terminal cannot be flushed (EINVAL, ENOTSUP) and need not be.
  if (::fsync(descriptor_) != 0 && !temporary_.empty()) fail("cannot flush ");
  const int result = ::close(descriptor_);
  descriptor_ = -1;
  if (result != 0) fail("cannot write ");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot write ");
  temporary_.clear();
  sync_folder(folder_of(path_));
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace wt
