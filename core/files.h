// Whole files: read at once, written whole or not at all. Every failure is an Error with the path and the system's
// reason.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace wt {

// Everything in the file. Throws where it is missing, not readable, a folder or larger than the memory there is.
std::string read_file(const std::string& path);
// The same in order and in pieces, for a file that need not fit in memory.
void read_pieces(const std::string& path, const std::function<void(std::string_view)>& piece);

// Makes a folder's entries (a file just renamed into it) survive a power cut.
void sync_folder(const std::string& folder);

// A file that appears under its name only when it is complete: bytes go to a temporary file beside it, and commit()
// flushes that to disk and renames it. Without a commit the temporary file is removed and an earlier file of that name
// stays as it was. A path that is no regular file (/dev/stdout, a pipe) is written directly.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();
  // The temporary file's path, for a library that opens its file itself ("" for a path that is no regular file).
  const std::string& temporary() const { return temporary_; }

 private:
  [[noreturn]] void fail(const char* what);

  std::string path_;
  std::string temporary_;  // empty: written directly, or already renamed
  int descriptor_ = -1;
};

void write_file(const std::string& path, std::string_view text);

}  // namespace wt
