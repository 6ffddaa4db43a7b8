#include "train/eval/result_files.h"

#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace wt {

void ResultFiles::write(const std::string& path, std::string_view text, bool whole) {
  const auto beside = unfinished_.find(path);
  if (!whole) {
    if (beside == unfinished_.end()) unfinished_[path] = unfinished_path(path);
    write_file(unfinished_[path], text);
    return;
  }
  write_file(path, text);
  if (beside == unfinished_.end()) return;
  // An equal path: the unfinished results had the name itself, as a link may say it otherwise.
  std::error_code none;
  if (!std::filesystem::equivalent(beside->second, path, none)) std::filesystem::remove(beside->second, none);
  unfinished_.erase(beside);
}

std::string ResultFiles::where() const {
  std::string out;
  for (const auto& [path, beside] : unfinished_) {
    std::error_code none;
    if (!std::filesystem::equivalent(path, beside, none)) out += cat(out.empty() ? " (in " : ", ", beside);
  }
  return out.empty() ? out : out + "; what was there stays)";
}

}  // namespace wt
