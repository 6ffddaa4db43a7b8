// Which build of the program this is.
#pragma once

namespace wt {

// "0.1.0".
const char* build_version();
// What `git describe` said of the sources when the build was configured; "unknown" outside of a repository.
const char* build_commit();

}  // namespace wt
