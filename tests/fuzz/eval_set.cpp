#include "data/eval_set.h"

#include "tests/fuzz/target.h"

// An evaluation set, in JSON or in our HDF5 layout.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  static const Tokenizer tokenizer =
      Tokenizer::load(std::string(WAVETAPE_SOURCE_DIR) + "/data/tokenizer/tokenizer.json");
  return fuzz::only_errors([&] {
    const EvalSet set(fuzz::file_with(data, size, ".json"), tokenizer, 1000);
    for (std::int64_t i = 0; i < set.size(); ++i) set.sample(i);
  });
}
