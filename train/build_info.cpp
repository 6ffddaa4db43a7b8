#include "train/build_info.h"

// Both come from CMakeLists.txt.
#ifndef WAVETAPE_VERSION
#define WAVETAPE_VERSION "unknown"
#endif
#ifndef WAVETAPE_COMMIT
#define WAVETAPE_COMMIT ""
#endif

namespace wt {

const char* build_version() {
  return WAVETAPE_VERSION;
}

const char* build_commit() {
  return *WAVETAPE_COMMIT == '\0' ? "unknown" : WAVETAPE_COMMIT;
}

}  // namespace wt
