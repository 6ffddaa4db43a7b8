// The bAbI tasks (Weston et al., arXiv 1502.05698): stories, their questions, and the files they stand in.
//
// A line is `<n> <sentence>` or `<n> <question>\t<answer>\t<supporting line numbers>`; n counts a story's lines from 1,
// so n = 1 starts a new story. Lines end with LF (CR LF is read too).
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

// One line of a story.
struct BabiLine {
  std::string text;             // without its number; a question keeps the blank some tasks put after its "?"
  std::string answer;           // empty in a fact
  std::vector<int> supporting;  // line numbers (from 1) of the facts an answer follows from, in the file's order
  bool is_question() const { return !answer.empty(); }
  bool operator==(const BabiLine&) const = default;
};

struct BabiStory {
  std::vector<BabiLine> lines;
  int num_questions() const;
  bool operator==(const BabiStory&) const = default;
};

// One question with everything before it: facts only, earlier questions left out.
struct BabiSample {
  std::vector<std::string> facts;
  std::string question;  // as in the file
  std::string answer;
  std::vector<int> supporting;  // indices into facts
  bool operator==(const BabiSample&) const = default;
};

// The sample of the story's index-th question (from 0).
BabiSample babi_sample(const BabiStory& story, int question);

// Which samples are wanted. Facts and tokens only grow along a story: once beyond a limit, all the rest of it is.
struct SampleLimits {
  int min_facts = 0, max_facts = 0;  // 0: no limit
  std::int64_t max_tokens = 0;       // of facts, question and answer together; 0: no limit
  bool has_room(std::int64_t facts, std::int64_t tokens) const {
    return (max_facts == 0 || facts <= max_facts) && (max_tokens == 0 || tokens <= max_tokens);
  }
  bool allow(std::int64_t facts, std::int64_t tokens) const { return facts >= min_facts && has_room(facts, tokens); }
};
// How many tokens a fact has, one at least; asked only where max_tokens is a limit.
using FactTokens = std::function<std::int64_t(const std::string& fact)>;

// Throws Error with path, line and what was expected: a line without its number, a number out of turn, a question
// without answer or supports, a support that is no earlier fact, a stray tab, a story without facts, an empty file.
// A byte order mark and blank lines at the end are passed over.
std::vector<BabiStory> read_babi(const std::string& path);
// The same from text; `name` stands for the path in errors.
std::vector<BabiStory> parse_babi(std::string_view text, const std::string& name);

// The lines of a file, LF after each.
std::string format_babi(const BabiStory& story);
// Writes the stories to a temporary file, then renames it. Throws Error.
void write_babi(const std::string& path, std::span<const BabiStory> stories);

// The tasks: qa1 ... qa20.
inline constexpr int kNumBabiTasks = 20;
std::vector<std::string> babi_tasks();
// "qa1" -> 1; throws UsageError for anything but qa1 ... qa20.
int babi_task_number(std::string_view task);

// The file of a task in a folder as Meta published it: qa1_*_train.txt or qa1_*_test.txt (for train, where that is
// missing, qa1_*_train_partial.txt). `split` is "train" or "test". Throws Error saying what was looked for.
std::string find_babi_file(const std::string& folder, std::string_view task, std::string_view split);

}  // namespace wt
