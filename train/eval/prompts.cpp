#include "train/eval/prompts.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/babi/stories.h"
#include "train/fields.h"

namespace wt {
namespace {

constexpr const char* kDefaultTemplate =
    "{instruction}\n\n{examples}\n\n{post_prompt}\n\n<context>\n{context}\n</context>\n\nQuestion: {question}";

const std::vector<std::string>& placeholders() {
  static const std::vector<std::string> names{"instruction", "examples", "post_prompt", "context", "question"};
  return names;
}

// Calls `text` with the pieces of a template that stand for themselves and `name` with the names in braces, in order.
// Throws UsageError, without a place.
template <class Text, class Name>
void walk_template(std::string_view pattern, const Text& text, const Name& name) {
  while (!pattern.empty()) {
    const std::size_t brace = pattern.find_first_of("{}");
    text(pattern.substr(0, brace));
    if (brace == std::string_view::npos) return;
    pattern.remove_prefix(brace);
    if (pattern.starts_with("{{") || pattern.starts_with("}}")) {
      text(pattern.substr(0, 1));
      pattern.remove_prefix(2);
      continue;
    }
    const std::size_t end = pattern.find('}');
    if (pattern.front() == '}' || end == std::string_view::npos) {
      throw UsageError(cat("a lone ", pattern.substr(0, 1), ", write ", pattern.substr(0, 1), pattern.substr(0, 1),
                           " for a brace that stands for itself"));
    }
    name(std::string(pattern.substr(1, end - 1)));
    pattern.remove_prefix(end + 1);
  }
}

void check_template(const std::string& pattern) {
  std::set<std::string> seen;
  walk_template(
      pattern, [](std::string_view) {},
      [&](const std::string& name) {
        const std::vector<std::string>& known = placeholders();
        if (std::find(known.begin(), known.end(), name) == known.end()) {
          const std::string hint = did_you_mean(name, known);
          throw UsageError(cat("unknown name {", name, "}", hint.empty() ? "; known are " : hint,
                               hint.empty() ? "{instruction}, {examples}, {post_prompt}, {context}, {question}" : ""));
        }
        seen.insert(name);
      });
  for (const char* needed : {"context", "question"}) {
    if (seen.count(needed) == 0) throw UsageError(cat("has no {", needed, "}"));
  }
}

struct TaskEntry {
  std::string key;
  bool present = false;
  TaskPrompt prompt;
};

struct PromptsFile {
  std::string pattern = kDefaultTemplate;
  std::array<TaskEntry, kNumBabiTasks> tasks;
};

void describe(Fields& fields, PromptsFile& file) {
  fields.text("template", file.pattern, "The order of the parts: {instruction}, {examples}, {post_prompt}, …");
  for (TaskEntry& entry : file.tasks) {
    fields.optional_group(entry.key.c_str(), entry.present, "The parts for this task", [&entry](Fields& task) {
      task.text("instruction", entry.prompt.instruction, "What the task is");
      task.text("examples", entry.prompt.examples, "Short contexts with question and answer");
      task.text("post_prompt", entry.prompt.post_prompt, "The form of the answer");
      task.text("template", entry.prompt.pattern, "For this task alone");
    });
  }
}

}  // namespace

std::string format_prompt(const TaskPrompt& prompt, std::string_view context, std::string_view question) {
  return whole(format_prompt(
      prompt, [&] { return once(std::string(context)); }, std::string(question)));
}

TextPieces format_prompt(const TaskPrompt& prompt, const std::function<TextPieces()>& context,
                         const std::string& question) {
  const std::map<std::string, std::string> values{{"instruction", prompt.instruction},
                                                  {"examples", prompt.examples},
                                                  {"post_prompt", prompt.post_prompt},
                                                  {"question", question}};
  std::vector<TextPieces> parts;
  walk_template(
      prompt.pattern, [&](std::string_view text) { parts.push_back(once(std::string(text))); },
      [&](const std::string& name) {
        parts.push_back(name == "context" ? trimmed_pieces(context()) : once(values.at(name)));
      });
  return trimmed_pieces(joined(std::move(parts)));
}

Prompts Prompts::load(const std::string& path) {
  return parse(read_file(path), path);
}

Prompts Prompts::parse(const std::string& text, const std::string& name) {
  PromptsFile file;
  const std::vector<std::string> names = babi_tasks();
  for (std::size_t i = 0; i < names.size(); ++i) file.tasks[i].key = names[i];
  Places places;
  const YamlNode root = parse_yaml(text, name);
  read_fields(root, places, [&](Fields& fields) { describe(fields, file); });
  const auto check = [&](const std::string& key, const std::string& pattern) {
    try {
      check_template(pattern);
    } catch (const UsageError& error) {
      places.fail(key, error.what());
    }
  };
  check("template", file.pattern);
  Prompts prompts;
  prompts.name_ = name;
  for (TaskEntry& entry : file.tasks) {
    if (!entry.present) continue;
    if (entry.prompt.pattern.empty()) {
      entry.prompt.pattern = file.pattern;
    } else {
      check(entry.key + ".template", entry.prompt.pattern);
    }
    prompts.tasks_[entry.key] = std::move(entry.prompt);
  }
  if (prompts.tasks_.empty()) throw UsageError(cat(name, ": no prompts for any task, expected groups qa1 … qa20"));
  return prompts;
}

const TaskPrompt& Prompts::of(const std::string& task) const {
  const auto found = tasks_.find(task);
  if (found != tasks_.end()) return found->second;
  std::string known;
  for (const auto& [name, prompt] : tasks_) known += cat(known.empty() ? "" : ", ", name);
  throw UsageError(cat(name_, ": no prompt for ", task, "; the file has ", known));
}

}  // namespace wt
