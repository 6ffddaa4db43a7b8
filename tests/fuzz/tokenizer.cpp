#include "data/tokenizer.h"

#include "tests/fuzz/target.h"

// A tokenizer.json, and with what it makes of it text there and back.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] {
    const Tokenizer tokenizer = Tokenizer::from_json(fuzz::text_of(data, size), "fuzz");
    const std::string text = "Mary went  to the kitchen.\n Don't 12,345 \xc3\xa4\xe2\x82\xac \xff<s>";
    static_cast<void>(tokenizer.decode(tokenizer.encode(text)));
  });
}
