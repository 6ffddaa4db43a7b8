#include "train/eval/tensorboard_eval.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"

namespace wt {
namespace {

std::string answers_table(const std::vector<EvalAnswer>& answers, bool by_official) {
  std::string wrong, right;
  std::size_t num_wrong = 0, num_right = 0;
  for (const EvalAnswer& answer : answers) {
    const bool is_right = by_official ? answer.official : answer.correct;
    if (is_right ? num_right++ >= kRightShown : num_wrong++ >= kWrongShown) continue;
    (is_right ? right : wrong) += cat("| ", markdown_escaped(answer.question), " | ", markdown_escaped(answer.target),
                                      " | ", answer.output.empty() ? "(nothing)" : markdown_escaped(answer.output),
                                      " | ", is_right ? "✓ right" : "✗ wrong", " |\n");
  }
  return cat("| question | target | output | |\n|---|---|---|---|\n", wrong, right);
}

}  // namespace

// For Python-Markdown, which TensorBoard uses: a backslash does not escape < and & there.
std::string markdown_escaped(std::string_view text) {
  std::string out;
  for (const char letter : printable_line(utf8_repaired(text))) {
    if (letter == '<' || letter == '>' || letter == '&') {
      out += letter == '<' ? "&lt;" : letter == '>' ? "&gt;" : "&amp;";
      continue;
    }
    if (std::string_view("\\`*_[]|").find(letter) != std::string_view::npos) out += '\\';
    out += letter;
  }
  return out;
}

std::string markdown_code(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    out += cat("    ", text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

void write_evaluation(TensorBoardWriter& writer, const EvalRow& row, const std::vector<EvalAnswer>& answers,
                      bool by_official, std::string_view weights, std::int64_t step) {
  const std::string task = row.task.empty() ? "all" : row.task;
  const std::string place = cat(task, "/", row.length);
  writer.scalar(cat("eval/", place, "/accuracy"), row.accuracy(), step);
  if (row.has_official) writer.scalar(cat("eval/", place, "/official_accuracy"), row.official_accuracy(), step);
  writer.scalar(cat("eval/", place, "/tokens_per_second"), row.tokens_per_second(), step);
  writer.text(
      cat("answers/", place),
      cat(markdown_escaped(cat(task, " at ", row.length)), ": ", by_official ? row.official : row.correct, " of ",
          row.samples, " right, weights of ", markdown_escaped(weights), "\n\n", answers_table(answers, by_official)),
      step);
}

}  // namespace wt
