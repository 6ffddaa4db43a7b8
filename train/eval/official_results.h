// Results in the layout of BABILong's leaderboard: for each task and length a CSV with an unnamed index column and the
// columns target, output, question, and a JSON of the prompt and the generation settings beside it. Its scripts take
// everything called *.csv in the folder for such a file, so nothing else goes there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/eval/evaluate.h"
#include "train/eval/prompts.h"

namespace wt {

// Whether the prompt went through the model's chat template, and the system message before it.
struct OfficialChat {
  bool used = false;
  std::string system;
};

struct OfficialSettings {
  TaskPrompt prompt;  // empty parts and the bare pattern where no prompts were given
  OfficialChat chat;
  std::int64_t max_new_tokens = 0;
  // What the published files do not have, so that a result can be made again.
  std::string model, tokenizer, dtype, schedule, set;
  std::int64_t seed = 0;
};

// "qa1_4k_NAME": the files' name without its ending. Throws UsageError for a length or a config name that would make it
// unreadable (empty, or with a slash or a control character; a length with an underscore).
std::string official_file_name(const std::string& task, const std::string& length, const std::string& config);
// The published names say which parts a prompt has: "instruction_yes_examples_no_post_prompt_yes_chat_template_no_…".
std::string official_config_name(const TaskPrompt& prompt, const OfficialChat& chat);

// The bytes that pandas' to_csv writes for the same answers.
std::string official_csv(const std::vector<EvalAnswer>& answers);
// Python's json.dump with indent=4: what lies beyond ASCII is escaped.
std::string official_json(const OfficialSettings& settings);

}  // namespace wt
