// Questions and answers of a report.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.h"
#include "train/report/html.h"
#include "train/report/report_parts.h"

namespace wt {
namespace {

// One question, answered by the runs that were asked it.
struct Question {
  std::string question, target;
  std::vector<const EvalAnswer*> answers;  // by run
  bool is_right() const {
    return std::all_of(answers.begin(), answers.end(),
                       [](const EvalAnswer* answer) { return answer == nullptr || answer->correct; });
  }
};

struct AnswerGroup {
  std::string task, length;
  std::vector<Question> questions;
};

// Samples are drawn by their index from the same seed, so the i-th of two runs is usually the same; where it is not,
// each stands for itself.
std::vector<AnswerGroup> group_answers(const std::vector<RunRecord>& runs) {
  std::vector<AnswerGroup> groups;
  std::map<std::pair<std::string, std::string>, std::size_t> places;
  using Key = std::tuple<std::size_t, std::size_t, std::string, std::string>;  // group, index, question, target
  std::map<Key, std::size_t> questions;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    std::map<std::size_t, std::size_t> asked;  // group: answers so far
    for (const AnswerRow& row : runs[r].answers) {
      const auto [place, is_new] = places.emplace(std::pair(row.task, row.length), groups.size());
      if (is_new) groups.push_back({row.task, row.length, {}});
      AnswerGroup& group = groups[place->second];
      const Key key{place->second, asked[place->second]++, row.answer.question, row.answer.target};
      const auto [at, is_first] = questions.emplace(key, group.questions.size());
      if (is_first) {
        group.questions.push_back(
            {row.answer.question, row.answer.target, std::vector<const EvalAnswer*>(runs.size(), nullptr)});
      }
      group.questions[at->second].answers[r] = &row.answer;
    }
  }
  return groups;
}

std::string answer_table(const std::vector<RunRecord>& runs, const std::vector<const Question*>& questions) {
  std::string out = "<div class=\"wide\"><table><thead><tr><th>question</th><th>right answer</th>";
  for (const RunRecord& run : runs) out += "<th>" + html_escaped(run.name) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const Question* question : questions) {
    out += "<tr><td>" + html_escaped(question->question) + "</td><td>" + html_escaped(question->target) + "</td>";
    for (const EvalAnswer* answer : question->answers) {
      if (answer == nullptr) {
        out += cat("<td>", kMissing, "</td>");
      } else {
        // Not by colour alone.
        out += cat("<td class=\"", answer->correct ? "right" : "wrong", "\">", answer->correct ? "✓ " : "✗ ",
                   answer->output.empty() ? "(nothing)" : html_escaped(answer->output), "</td>");
      }
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::string answers_section(const std::vector<RunRecord>& runs) {
  const std::vector<AnswerGroup> groups = group_answers(runs);
  if (groups.empty()) return "";
  std::string out = "<section><h2>Answers</h2>\n";
  for (const AnswerGroup& group : groups) {
    std::vector<const Question*> wrong, right;
    for (const Question& question : group.questions) (question.is_right() ? right : wrong).push_back(&question);
    std::vector<const Question*> shown(
        wrong.begin(), wrong.begin() + static_cast<std::ptrdiff_t>(std::min(wrong.size(), kWrongShown)));
    shown.insert(shown.end(), right.begin(),
                 right.begin() + static_cast<std::ptrdiff_t>(std::min(right.size(), kRightShown)));
    out += fmt::format("<details{}><summary>{} at {}: {} of {} {} wrong{}</summary>\n",
                       &group == &groups.front() ? " open=\"open\"" : "",
                       html_escaped(group.task == "-" ? "all" : group.task), html_escaped(group.length), wrong.size(),
                       group.questions.size(), group.questions.size() == 1 ? "question" : "questions",
                       runs.size() > 1 ? " in some run" : "");
    if (shown.size() < group.questions.size()) {
      out += fmt::format("<p class=\"soft\">Shown: the first {} wrong and {} right ones.</p>\n",
                         std::min(wrong.size(), kWrongShown), std::min(right.size(), kRightShown));
    }
    out += answer_table(runs, shown) + "</details>\n";
  }
  return out + "</section>\n";
}

}  // namespace wt
