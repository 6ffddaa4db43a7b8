#include "tests/fuzz/target.h"
#include "train/models/model_config_json.h"

// A model folder's config.json.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] { parse_model_config(std::string(fuzz::text_of(data, size)), "fuzz"); });
}
