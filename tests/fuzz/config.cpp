#include "train/config.h"

#include "tests/fuzz/target.h"

// A configuration; what was read must be written as text that reads as the same.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  std::string written;
  fuzz::only_errors([&] { written = config_yaml(parse_config(std::string(fuzz::text_of(data, size)), "fuzz")); });
  if (!written.empty() && config_yaml(parse_config(written, "written")) != written) __builtin_trap();
  return 0;
}
