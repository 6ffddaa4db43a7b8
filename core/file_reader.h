// A file that is read in order, in pieces: for one that need not fit in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

class FileReader {
 public:
  // From byte `offset` on; 0 for what is no regular file (a pipe). Throws Error with path and reason, as next() does.
  explicit FileReader(const std::string& path, std::int64_t offset = 0);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // The next piece, valid until the next call; "" at the end. Throws Error for a git-lfs pointer, too.
  std::string_view next();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool at_beginning_;
  int descriptor_ = -1;
  std::vector<char> buffer_;
};

}  // namespace wt
