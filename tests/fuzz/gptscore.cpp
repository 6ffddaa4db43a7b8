#include "train/eval/gptscore.h"

#include "tests/fuzz/target.h"

// Lines to score, made ready for it; and the same bytes as instructions, in YAML and in JSON.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::only_errors([&] {
    for (const ScoreLine& line : parse_score_lines(text, "fuzz", "fuzz")) {
      if (line.place.empty() || line.id.empty() || line.system.empty() || line.references.empty()) __builtin_trap();
      instruction_text(line.instruction);
      for (const std::string& scored : {scored_text(line.hypothesis), scored_text(line.references.front())}) {
        if (!scored.empty() && scored.back() != '.') __builtin_trap();
      }
    }
  });
  for (const char* name : {"fuzz.yaml", "fuzz.json"}) {
    fuzz::only_errors([&] {
      if (parse_aspects(std::string(text), name).empty()) __builtin_trap();
    });
  }
  return 0;
}
