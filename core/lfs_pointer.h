// Files that git-lfs has left for later: a clone made without it holds, in place of every large file, a text of three
// lines that names the file (github.com/git-lfs/git-lfs, docs/spec.md).
#pragma once

#include <string>
#include <string_view>

namespace wt {

// Throws Error "PATH: a git-lfs pointer, not the file itself …" where a file begins like one. Whoever opens a file and
// reads its first bytes calls it with them, before it complains of what they are not.
void refuse_lfs_pointer(const std::string& path, std::string_view beginning);

}  // namespace wt
