// Prompts for `wavetape generate --prompts-file`: JSON lines, and the lines of its results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wt {

struct PromptLine {
  std::string prompt;
  std::string rest;  // the object's other keys as JSON text ("{}" for none): they come back with the result
};

// Each line a JSON string or an object with "prompt"; blank lines are passed over. Throws Error "path:line: …" for
// anything else, an empty prompt, and the keys of a result (text, tokens, finish).
std::vector<PromptLine> read_prompts_file(const std::string& path);

// How a generation ended: "length" (max_new_tokens), "end" (a stop token), "stop" (a stop string).
// {"prompt": …, other keys, "text": …, "tokens": …, "finish": …} with a line break.
std::string result_line(const PromptLine& line, const std::string& text, std::int64_t tokens,
                        const std::string& finish);

}  // namespace wt
