#include "data/babi/stories.h"
#include "tests/fuzz/target.h"

// A bAbI file; stories that were read and written must read as the same text again.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] {
    const auto stories = parse_babi(fuzz::text_of(data, size), "fuzz");
    for (const auto& story : stories) {
      for (int question = 0; question < story.num_questions(); ++question) babi_sample(story, question);
    }
    std::string text;
    for (const auto& story : stories) text += format_babi(story);
    std::string again;
    for (const auto& story : parse_babi(text, "written")) again += format_babi(story);
    if (again != text) __builtin_trap();
  });
}
