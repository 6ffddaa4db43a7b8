#include "train/notice.h"

#include <cstdio>

#include "core/text.h"

namespace wt {

void print_notice(const std::string& message) {
  std::fprintf(stderr, "wavetape: %s\n", printable_line(message).c_str());
}

}  // namespace wt
