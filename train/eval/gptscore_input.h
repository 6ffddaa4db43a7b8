// What `wavetape gptscore` reads: texts to score as JSON lines, and the instructions that the scores are asked under.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

// One answer of a system with what it is compared to.
struct ScoreLine {
  std::string place;  // "answers.jsonl:3"
  std::string id, system;
  std::string source;                   // what the answer goes on from; may be empty
  std::string hypothesis;               // the answer
  std::vector<std::string> references;  // at least one
  std::string instruction;              // the line's own; may be empty
};

// A view under which answers are scored, and the sentence that asks for it; nothing: each line's own instruction.
struct Aspect {
  std::string name;
  std::optional<std::string> sentence;
};

// Each line an object with "hypothesis" (text) and "reference" (text, or a list of texts), and perhaps "id" (text or a
// whole number; else the line's number), "system" (else `system`), "source" and "instruction"; other keys and blank
// lines are passed over. Throws Error "path:line: …" for anything else, and where there is no line.
std::vector<ScoreLine> read_score_lines(const std::string& path, const std::string& system);
std::vector<ScoreLine> parse_score_lines(std::string_view text, const std::string& name, const std::string& system);

// A map of aspects to sentences in their order, or the one under "asp_definition" (as GPTScore's files of
// demonstrations have it, of which nothing else is used): JSON where the file's name ends in .json, else YAML. An empty
// sentence asks for nothing. Throws Error or UsageError naming the file, and in YAML the line.
std::vector<Aspect> read_aspects(const std::string& path);
std::vector<Aspect> parse_aspects(const std::string& text, const std::string& name);

}  // namespace wt
