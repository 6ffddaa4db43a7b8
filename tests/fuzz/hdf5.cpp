#include <hdf5.h>

#include "data/books_file.h"
#include "data/eval_set.h"
#include "tests/fuzz/target.h"

// Tokenised books, and an evaluation set, in HDF5. Every block of such a file has a checksum, so most inputs end there.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  // The library keeps what it needs for each open file, instead of asking for its half megabyte page by page each time.
  static const herr_t keep = H5set_free_list_limits(-1, -1, -1, -1, -1, -1);
  if (keep < 0) __builtin_trap();
  static const Tokenizer tokenizer =
      Tokenizer::load(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/tokenizers/gpt2.json");
  const std::string& path = fuzz::file_with(data, size, ".h5");
  struct : BookSink {
    void begin_book(const std::string&) override {}
    void add(const TokenizedSentences&) override {}
  } nothing;
  fuzz::only_errors([&] { copy_books(path, tokenizer, nothing); });
  return fuzz::only_errors([&] {
    const EvalSet set(path, tokenizer, 1000);
    for (std::int64_t i = 0; i < set.size(); ++i) set.sample(i);
  });
}
