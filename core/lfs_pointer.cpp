#include "core/lfs_pointer.h"

#include "core/error.h"

namespace wt {

void refuse_lfs_pointer(const std::string& path, std::string_view beginning) {
  if (!beginning.starts_with("version https://git-lfs")) return;
  std::string size;
  if (const auto at = beginning.find("\nsize "); at != std::string_view::npos) {
    const std::string_view digits = beginning.substr(at + 6, 20);
    size = cat(" (of ", digits.substr(0, digits.find_first_not_of("0123456789")), " bytes)");
  }
  throw Error(cat(path, ": a git-lfs pointer, not the file itself", size, "; fetch it with git lfs pull"));
}

}  // namespace wt
