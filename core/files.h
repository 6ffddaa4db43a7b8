// Whole files: read at once, written whole or not at all. Every failure is an Error with the path and the system's
// reason.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/temporary.h"

namespace wt {

// Who was to read what a descriptor of ours is written to (/dev/stdout, /dev/fd/3) has gone, as `| head` does: that
// ends the program, but is no failure.
class ReaderGone : public Error {
 public:
  using Error::Error;
};

// Everything in the file. Throws where it is missing, not readable, a folder or larger than the memory there is.
std::string read_file(const std::string& path);
// The same in order and in pieces, for a file that need not fit in memory.
void read_pieces(const std::string& path, const std::function<void(std::string_view)>& piece);

// The folder that the path is in, "." where it names none.
std::string folder_of(const std::string& path);
// Makes the folder and those above it that are not there; each is on disk when its entry is.
void make_folders(const std::string& path);
// Makes a folder's entries (a file just renamed into it) survive a power cut.
void sync_folder(const std::string& folder);

// Where results go that are not whole: `path` itself while nothing is there, else the first of path.partial,
// path.partial2, … that is free. What is no regular file (a pipe) stays `path`.
std::string unfinished_path(const std::string& path);

// A file that appears under its name only when it is complete: bytes go to a temporary file beside it
// (core/temporary.h), and commit() flushes that to disk and renames it. Without a commit the temporary file is removed
// and an earlier file of that name stays as it was. The new file has the mode of the one it replaces (and its owner,
// where that is allowed), else 0666 without the umask. A symbolic link stays: the file it names is the one that is
// replaced or made. A path that is no regular file (/dev/stdout, a pipe) is written directly; so are open descriptors
// (/dev/fd/3).
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit() { commit_as(path_); }
  // Under another name in the same folder (unfinished_path()).
  void commit_as(const std::string& path);
  // The temporary file's path, for a library that opens its file itself ("" for a path that is no regular file).
  std::string temporary() const { return temporary_ ? temporary_->path() : ""; }

 private:
  [[noreturn]] void fail(const char* what) const;
  void open_directly(int descriptor);

  std::string path_;
  std::unique_ptr<Temporary> temporary_;  // null: written directly, or done
  int descriptor_ = -1;                   // of what is written directly
  bool is_given_ = false;                 // the same, as a descriptor that was open before
};

void write_file(const std::string& path, std::string_view text);

}  // namespace wt
