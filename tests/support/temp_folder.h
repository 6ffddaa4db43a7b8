// A fresh folder that is removed at the end of its scope.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "core/error.h"

namespace wt {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "wavetape-XXXXXX").string();
    WT_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder ", name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // Entries whose names begin with a dot: what is left of something half-made.
  int num_hidden() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      count += entry.path().filename().string().starts_with('.') ? 1 : 0;
    }
    return count;
  }

 private:
  std::string path_;
};

}  // namespace wt
