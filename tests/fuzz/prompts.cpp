#include "train/eval/prompts.h"

#include "tests/fuzz/target.h"

// A file of prompts, and the prompt of a task filled in.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] {
    const Prompts prompts = Prompts::parse(std::string(fuzz::text_of(data, size)), "fuzz");
    format_prompt(prompts.of("qa1"), "Mary went to the office.", "Where is Mary?");
  });
}
