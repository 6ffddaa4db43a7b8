// Files and folders that are being made: beside the place they are for, under names of their own, and gone where the
// program ends before they are there.
#pragma once

#include <sys/types.h>

#include <string>

namespace wt {

// `.NAME.wt-XXXXXXXX.tmp` in the folder of `target`, whose name NAME is (its beginning, where that is long). The digits
// are random and the name is taken by nobody before (O_EXCL, O_NOFOLLOW; mkdir), so that any number of processes on any
// number of machines may write the same file. It is locked (flock) while it is in use: what a killed program left for
// the same target is known by its lock being free, and removed.
class Temporary {
 public:
  enum class Kind { kFile, kFolder };
  // `mode` as of open(2), the umask taken off. Throws Error "cannot write TARGET: reason".
  Temporary(const std::string& target, Kind kind, mode_t mode);
  // Removes it, unless it was renamed.
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::string& path() const { return path_; }
  // Of a file: open for reading and writing.
  int descriptor() const { return descriptor_; }
  // Puts it in the place of `path`, in the same folder. Throws Error "cannot write PATH: reason".
  void rename_to(const std::string& path);

 private:
  bool make(mode_t mode);
  void remove_file_or_folder() noexcept;

  Kind kind_;
  std::string path_;  // empty once it is renamed
  int descriptor_ = -1;
  int slot_ = -1;
};

// Removes every temporary file and folder (those of one level) of this process; for a signal handler, before the end.
void remove_temporaries() noexcept;
// From now on SIGINT, SIGTERM and SIGHUP do so before they end the program; those that are ignored stay ignored.
void remove_temporaries_on_signals();

}  // namespace wt
