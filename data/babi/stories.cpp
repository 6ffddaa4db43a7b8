#include "data/babi/stories.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace wt {
namespace {

// Reads one line of the file into `story`, or starts a new story.
class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  std::vector<BabiStory> run() {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    // Without the blank lines at the end.
    const std::size_t last = text_.find_last_not_of(" \t\r\n");
    text_ = last == std::string_view::npos ? std::string_view() : text_.substr(0, text_.find('\n', last));
    while (position_ < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', position_), text_.size());
      std::string_view line = text_.substr(position_, end - position_);
      while (line.ends_with('\r')) line.remove_suffix(1);
      position_ = end + 1;
      ++number_;
      read_line(line);
    }
    if (stories_.empty()) {
      throw Error(cat(name_, ": the file is empty, expected lines like `1 Mary moved to the bathroom.`"));
    }
    check_finished();
    return std::move(stories_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(cat(name_, ":", number_, ": ", what)); }

  // A decimal number without sign or leading zero; 0 where `text` is none.
  static int number_of(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && text.front() != '0' && value > 0 ? value : 0;
  }

  static bool is_blank(std::string_view text) { return text.find_first_not_of(' ') == std::string_view::npos; }

  void check_finished() const {
    if (!stories_.empty() && stories_.back().num_questions() == 0) fail("the story ends without a question");
  }

  void read_line(std::string_view line) {
    const std::size_t blank = line.find(' ');
    const int index = blank == std::string_view::npos ? 0 : number_of(line.substr(0, blank));
    if (index == 0) fail("expected a line number, a blank and a sentence");
    const int expected = stories_.empty() ? 1 : static_cast<int>(stories_.back().lines.size()) + 1;
    if (index == 1) {
      check_finished();
      stories_.emplace_back();
    } else if (index != expected) {
      fail(cat("line number ", index, ", expected ", expected, expected == 1 ? "" : " (or 1 for a new story)"));
    }
    stories_.back().lines.push_back(read_text(line.substr(blank + 1)));
  }

  BabiLine read_text(std::string_view text) const {
    BabiLine line;
    const std::size_t tab = text.find('\t');
    line.text = std::string(text.substr(0, tab));
    if (is_blank(line.text)) fail("no sentence");
    if (tab == std::string_view::npos) return line;
    const std::string_view rest = text.substr(tab + 1);
    const std::size_t second = rest.find('\t');
    if (second == std::string_view::npos) {
      fail("a question needs an answer and supporting line numbers: <question> TAB <answer> TAB <numbers>");
    }
    line.answer = std::string(rest.substr(0, second));
    if (is_blank(line.answer)) fail("a question without answer");
    std::string_view supports = rest.substr(second + 1);
    while (!supports.empty()) {
      const std::size_t end = std::min(supports.find(' '), supports.size());
      line.supporting.push_back(read_support(supports.substr(0, end)));
      supports.remove_prefix(std::min(end + 1, supports.size()));
    }
    if (line.supporting.empty()) fail("a question without supporting line numbers");
    return line;
  }

  int read_support(std::string_view text) const {
    const int index = text.empty() ? 0 : number_of(text);
    const std::vector<BabiLine>& lines = stories_.back().lines;
    if (index == 0) fail(cat("supporting line number `", text, "`, expected numbers with one blank between"));
    if (index > static_cast<int>(lines.size()) || lines[static_cast<std::size_t>(index) - 1].is_question()) {
      fail(cat("supporting line ", index, " is no earlier fact of this story"));
    }
    return index;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t position_ = 0;
  int number_ = 0;
  std::vector<BabiStory> stories_;
};

}  // namespace

int BabiStory::num_questions() const {
  return static_cast<int>(std::count_if(lines.begin(), lines.end(), [](const BabiLine& l) { return l.is_question(); }));
}

BabiSample babi_sample(const BabiStory& story, int question) {
  BabiSample sample;
  std::vector<int> fact_of_line;  // index into sample.facts, -1 for a question
  int seen = 0;
  for (const BabiLine& line : story.lines) {
    if (!line.is_question()) {
      fact_of_line.push_back(static_cast<int>(sample.facts.size()));
      sample.facts.push_back(line.text);
      continue;
    }
    fact_of_line.push_back(-1);
    if (seen++ != question) continue;
    sample.question = line.text;
    sample.answer = line.answer;
    for (const int support : line.supporting) {
      WT_CHECK(support >= 1 && support <= static_cast<int>(fact_of_line.size()) &&
                   fact_of_line[static_cast<std::size_t>(support) - 1] >= 0,
               "bAbI question `", line.text, "`: supporting line ", support, " is no earlier fact");
      sample.supporting.push_back(fact_of_line[static_cast<std::size_t>(support) - 1]);
    }
    return sample;
  }
  throw Error(cat("question ", question, " of a bAbI story with ", seen, ", counted from 0"));
}

std::vector<BabiStory> parse_babi(std::string_view text, const std::string& name) {
  return Parser(text, name).run();
}

std::vector<BabiStory> read_babi(const std::string& path) {
  return parse_babi(read_file(path), path);
}

std::string format_babi(const BabiStory& story) {
  std::string out;
  int index = 0;
  for (const BabiLine& line : story.lines) {
    out += cat(++index, " ", line.text);
    if (line.is_question()) {
      out += cat("\t", line.answer, "\t");
      for (std::size_t i = 0; i < line.supporting.size(); ++i) out += cat(i > 0 ? " " : "", line.supporting[i]);
    }
    out += '\n';
  }
  return out;
}

void write_babi(const std::string& path, std::span<const BabiStory> stories) {
  AtomicFile file(path);
  for (const BabiStory& story : stories) file.write(format_babi(story));
  file.commit();
}

std::vector<std::string> babi_tasks() {
  std::vector<std::string> tasks;
  for (int number = 1; number <= kNumBabiTasks; ++number) tasks.push_back(cat("qa", number));
  return tasks;
}

int babi_task_number(std::string_view task) {
  int number = 0;
  if (task.starts_with("qa")) {
    const auto [end, error] = std::from_chars(task.data() + 2, task.data() + task.size(), number);
    if (error != std::errc() || end != task.data() + task.size() || task[2] == '0') number = 0;
  }
  if (number < 1 || number > kNumBabiTasks) throw UsageError(cat("task `", task, "`, expected qa1 ... qa20"));
  return number;
}

std::string find_babi_file(const std::string& folder, std::string_view task, std::string_view split) {
  namespace fs = std::filesystem;
  babi_task_number(task);
  WT_CHECK(split == "train" || split == "test", "bAbI split `", split, "`, expected train or test");
  const std::string prefix = cat(task, "_");
  std::vector<std::string> endings{cat("_", split, ".txt")};
  if (split == "train") endings.push_back("_train_partial.txt");
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error)
    throw Error(cat(folder, ": cannot be listed: ", error.message(), "; expected bAbI's folder (en-10k, say)"));
  std::sort(names.begin(), names.end());
  for (const std::string& ending : endings) {
    std::vector<std::string> found;
    for (const std::string& name : names) {
      if (name.starts_with(prefix) && name.ends_with(ending)) found.push_back(name);
    }
    if (found.size() > 1)
      throw Error(cat(folder, ": both ", found[0], " and ", found[1], " are ", task, "'s ", split, " file"));
    if (found.size() == 1) return (fs::path(folder) / found[0]).string();
  }
  throw Error(cat(folder, ": no file ", prefix, "*", endings[0], " for task ", task));
}

}  // namespace wt
