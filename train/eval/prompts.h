// What an instruction model is told around a BABILong sample, by task: data/prompts.yaml, or a file of the user's.
//
//   template: "{instruction}\n\n{examples}\n\n{context}\n\nQuestion: {question}"
//   qa1:
//     instruction: What the task is.
//     examples: Short contexts with question and answer.
//     post_prompt: The form of the answer.
//     template: ""    # of this task alone, where it is not the file's
//
// The order of the default template is BABILong's (arXiv 2406.10149, the public repository's prompts).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "data/pieces.h"

namespace wt {

struct TaskPrompt {
  std::string instruction, examples, post_prompt;
  // {instruction}, {examples}, {post_prompt}, {context} and {question} are replaced; {{ and }} stand for braces.
  std::string pattern;
};

// The text for one sample: the template filled in, blanks around the context and around the whole taken off.
std::string format_prompt(const TaskPrompt& prompt, std::string_view context, std::string_view question);
// The same for a context that comes in pieces; `context` gives it from its beginning, once for each {context}.
TextPieces format_prompt(const TaskPrompt& prompt, const std::function<TextPieces()>& context,
                         const std::string& question);

class Prompts {
 public:
  // Throws UsageError "file:line: …": an unknown key (naming the nearest), a value that is no text, a template with an
  // unknown name or a lone brace, or without {context} or {question}, a file without any task.
  static Prompts load(const std::string& path);
  static Prompts parse(const std::string& text, const std::string& name);

  // Throws UsageError where the file has nothing for the task.
  const TaskPrompt& of(const std::string& task) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::map<std::string, TaskPrompt> tasks_;
};

}  // namespace wt
