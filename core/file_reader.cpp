#include "core/file_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/lfs_pointer.h"

namespace wt {

FileReader::FileReader(const std::string& path, std::int64_t offset) : path_(path), at_beginning_(offset == 0) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw Error(cat("cannot open ", path, ": ", std::strerror(errno)));
  if (offset > 0 && ::lseek(descriptor_, offset, SEEK_SET) != offset) {
    const int reason = errno;
    ::close(descriptor_);
    throw Error(cat("cannot read ", path, " from byte ", offset, ": ", std::strerror(reason)));
  }
}

FileReader::~FileReader() {
  ::close(descriptor_);
}

std::string_view FileReader::next() {
  buffer_.resize(std::size_t{1} << 18);
  while (true) {
    const ssize_t count = ::read(descriptor_, buffer_.data(), buffer_.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(cat("cannot read ", path_, ": ", std::strerror(errno)));
    const std::string_view piece{buffer_.data(), static_cast<std::size_t>(count)};
    if (std::exchange(at_beginning_, false)) refuse_lfs_pointer(path_, piece);
    return piece;
  }
}

}  // namespace wt
