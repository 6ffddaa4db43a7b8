#include "train/output.h"

#include <cerrno>
#include <cstring>

#include "core/files.h"
#include "train/notice.h"

namespace wt {
namespace {

int first_failure = 0;

}  // namespace

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (flush_output(stdout)) return;
  if (output_failure() == EPIPE) throw ReaderGone("standard output: Broken pipe");
  throw Error(cat("cannot write output: ", std::strerror(output_failure())));
}

bool flush_output(std::FILE* out) {
  errno = 0;
  const bool flushed = std::fflush(out) == 0;
  const int reason = errno;
  if (flushed && std::ferror(out) == 0) return true;
  // An earlier failure whose reason nobody has asked for is one of writing, too.
  if (out == stdout && first_failure == 0) first_failure = flushed || reason == 0 ? EIO : reason;
  return false;
}

int output_failure() {
  return first_failure;
}

int finish_output(int code) {
  if (flush_output(stdout) || output_failure() == EPIPE) return code;
  print_notice(cat("cannot write output: ", std::strerror(output_failure())));
  return 1;
}

}  // namespace wt
