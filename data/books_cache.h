// The folder of tokens that were made before. Internal to load_books().
#pragma once

#include <functional>
#include <string>

namespace wt {

// Held by one process at a time, over a name; gone with the process however it ends. On a file system without locks
// nobody waits.
class CacheLock {
 public:
  // `waiting` is called ten times a second as long as another process holds it; what it throws ends the wait.
  CacheLock(const std::string& path, const std::function<void()>& waiting);
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;
  bool held() const { return held_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  bool held_ = false;
};

}  // namespace wt
