#include "train/report/report_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <tuple>

#include "core/error.h"
#include "core/utf8.h"
#include "train/report/charts.h"
#include "train/report/html.h"
#include "train/units.h"

namespace wt {
namespace {

constexpr const char* kMissing = "–";
// Answers shown of a task at a length: enough to see what goes wrong, few enough to read.
constexpr std::size_t kWrongShown = 8, kRightShown = 4;

// The tasks and lengths of all runs, and where in `runs` their results are.
struct Evaluations {
  std::vector<std::string> tasks, lengths;  // tasks in the order of the files, lengths from short to long
  std::map<std::pair<std::string, std::string>, std::vector<const EvalRow*>> rows;  // by run; null where it has none

  const EvalRow* of(std::size_t run, const std::string& task, const std::string& length) const {
    const auto found = rows.find({task, length});
    return found == rows.end() ? nullptr : found->second[run];
  }
};

template <class T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Evaluations collect(const std::vector<RunRecord>& runs) {
  Evaluations out;
  std::map<std::string, std::pair<double, double>> tokens;  // length: tokens and samples, of all its rows
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const EvalRow& row : runs[r].evaluation) {
      if (!contains(out.tasks, row.task)) out.tasks.push_back(row.task);
      if (!contains(out.lengths, row.length)) out.lengths.push_back(row.length);
      auto& cells = out.rows[{row.task, row.length}];
      cells.resize(runs.size(), nullptr);
      cells[r] = &row;
      tokens[row.length].first += static_cast<double>(row.prompt_tokens);
      tokens[row.length].second += static_cast<double>(row.samples);
    }
  }
  const auto mean = [&](const std::string& length) { return tokens[length].first / tokens[length].second; };
  std::stable_sort(out.lengths.begin(), out.lengths.end(),
                   [&](const std::string& a, const std::string& b) { return mean(a) < mean(b); });
  return out;
}

// A share from 0 to 1 of one row, or nothing.
using Metric = std::optional<double> (*)(const EvalRow&);

std::optional<double> exact_match(const EvalRow& row) {
  return row.accuracy();
}
std::optional<double> official_metric(const EvalRow& row) {
  return row.has_official ? std::optional(row.official_accuracy()) : std::nullopt;
}

// The mean over all tasks; nothing where one of them is missing, since means of other tasks do not compare.
std::optional<double> mean_over_tasks(const Evaluations& all, std::size_t run, const std::string& length,
                                      Metric metric) {
  double sum = 0;
  for (const std::string& task : all.tasks) {
    const EvalRow* row = all.of(run, task, length);
    const std::optional<double> value = row == nullptr ? std::nullopt : metric(*row);
    if (!value) return std::nullopt;
    sum += *value;
  }
  return sum / static_cast<double>(all.tasks.size());
}

HtmlCell share_cell(const std::optional<double>& share, const std::string& tooltip) {
  HtmlCell cell;
  cell.text = share ? fmt::format("{:.1f}", 100 * *share) : kMissing;
  cell.sort_key = fmt::format("{}", share.value_or(-1));
  cell.tooltip = tooltip;
  if (share) {
    const Rgb colour = accuracy_colour(*share);
    cell.style = cat("background:", colour.hex(), ";color:", words_on(colour));
  }
  return cell;
}

HtmlCell run_cell(std::size_t run, const std::string& name) {
  HtmlCell cell;
  cell.text = name;
  cell.before = run_key(run);
  return cell;
}

std::string accuracy_table(const std::vector<RunRecord>& runs, const Evaluations& all, Metric metric) {
  std::vector<std::string> columns{"run", "task"};
  columns.insert(columns.end(), all.lengths.begin(), all.lengths.end());
  HtmlTable table(columns, 2);
  for (const std::string& task : all.tasks) {
    for (std::size_t r = 0; r < runs.size(); ++r) {
      std::vector<HtmlCell> cells{run_cell(r, runs[r].name), text_cell(task)};
      for (const std::string& length : all.lengths) {
        const EvalRow* row = all.of(r, task, length);
        cells.push_back(share_cell(
            row == nullptr ? std::nullopt : metric(*row),
            row == nullptr ? "" : cat(row->samples, " samples, ", row->prompt_tokens / row->samples, " tokens each")));
      }
      table.add_row(std::move(cells));
    }
  }
  for (std::size_t r = 0; all.tasks.size() > 1 && r < runs.size(); ++r) {
    std::vector<HtmlCell> cells{run_cell(r, runs[r].name), text_cell("mean")};
    for (const std::string& length : all.lengths) {
      cells.push_back(share_cell(mean_over_tasks(all, r, length, metric), "mean over the tasks"));
    }
    table.add_row(std::move(cells));
  }
  return table.str();
}

// A run's name at the end of its line; the legend has it in full.
std::string short_name(const std::string& name) {
  constexpr std::size_t kBytes = 24;
  const std::string text = utf8_repaired(name);
  if (text.size() <= kBytes) return text;
  const std::string head = text.substr(0, kBytes);
  return head.substr(0, utf8_valid_until(head, 0)) + "…";
}

// A line for each run, so that colours are the same in all charts; nothing where there is no value at all.
std::string length_chart(const std::string& title, const std::vector<RunRecord>& runs, const Evaluations& all,
                         const std::function<std::optional<double>(std::size_t, const std::string&)>& value,
                         ChartScale scale) {
  std::vector<ChartLine> lines;
  double top = 0;
  bool is_empty = true;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    ChartLine line{short_name(runs[r].name), {}};
    for (const std::string& length : all.lengths) {
      line.values.push_back(value(r, length));
      if (!line.values.back()) continue;
      top = std::max(top, *line.values.back());
      is_empty = false;
    }
    lines.push_back(std::move(line));
  }
  if (is_empty) return "";
  if (scale.top <= 0) {
    const std::vector<double> ticks = axis_ticks(0, std::max(top, 1e-9), 5, false);
    scale.step = ticks[1];
    scale.top = std::ceil(top / scale.step) * scale.step;
  }
  return "<figure>" + line_chart(title, "", "context length", all.lengths, lines, scale).inline_str() + "</figure>\n";
}

std::string accuracy_charts(const std::vector<RunRecord>& runs, const Evaluations& all, Metric metric,
                            const std::string& name) {
  const ChartScale percent{.title = name + ", %"};
  const auto per_cent = [](const std::optional<double>& share) {
    return share ? std::optional(100 * *share) : std::nullopt;
  };
  std::string charts;
  for (const std::string& task : all.tasks) {
    charts += length_chart(
        task == "-" ? "all" : task, runs, all,
        [&](std::size_t r, const std::string& length) {
          const EvalRow* row = all.of(r, task, length);
          return row == nullptr ? std::nullopt : per_cent(metric(*row));
        },
        percent);
  }
  if (all.tasks.size() == 1) return "<div class=\"charts\">\n" + charts + "</div>\n";
  const std::string mean = length_chart(
      "Mean over the tasks", runs, all,
      [&](std::size_t r, const std::string& length) { return per_cent(mean_over_tasks(all, r, length, metric)); },
      percent);
  return (mean.empty() ? "" : "<div class=\"charts\">\n" + mean + "</div>\n") +
         "<details open=\"open\"><summary>Each task</summary>\n<div class=\"charts\">\n" + charts +
         "</div></details>\n";
}

std::string speed_part(const std::vector<RunRecord>& runs, const Evaluations& all) {
  // Over the tasks: tokens and seconds of all, the highest peak.
  const auto sum = [&](std::size_t r, const std::string& length) {
    EvalRow total;
    for (const std::string& task : all.tasks) {
      const EvalRow* row = all.of(r, task, length);
      if (row == nullptr || row->seconds <= 0) continue;
      total.prompt_tokens += row->prompt_tokens;
      total.seconds += row->seconds;
      total.peak_bytes = std::max(total.peak_bytes, row->peak_bytes);
    }
    return total;
  };
  const auto speed = [&](std::size_t r, const std::string& length) -> std::optional<double> {
    const double rate = sum(r, length).tokens_per_second();
    return rate > 0 ? std::optional(rate / 1000) : std::nullopt;
  };
  const auto memory = [&](std::size_t r, const std::string& length) -> std::optional<double> {
    const std::uint64_t bytes = sum(r, length).peak_bytes;
    return bytes > 0 ? std::optional(static_cast<double>(bytes) / (1 << 20)) : std::nullopt;
  };
  std::string out = "<h3>Speed and memory</h3>\n<div class=\"charts\">\n";
  out += length_chart("Reading speed", runs, all, speed,
                      {.title = "thousand tokens/s", .unit = "k tokens/s", .top = 0, .step = 0});
  out += length_chart("Peak tensor memory", runs, all, memory, {.title = "MiB", .unit = " MiB", .top = 0, .step = 0});
  out += "</div>\n";
  HtmlTable table({"run", "task", "length", "tokens", "samples", "exact match", "official", "tokens/s", "peak memory"},
                  3);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (const EvalRow& row : runs[r].evaluation) {
      const auto tokens = static_cast<double>(row.prompt_tokens) / static_cast<double>(row.samples);
      HtmlCell length = number_cell(row.length, tokens);
      table.add_row(
          {run_cell(r, runs[r].name), text_cell(row.task), length, number_cell(fmt::format("{:.0f}", tokens), tokens),
           number_cell(std::to_string(row.samples), static_cast<double>(row.samples)),
           number_cell(fmt::format("{:.3f}", row.accuracy()), row.accuracy()),
           row.has_official ? number_cell(fmt::format("{:.3f}", row.official_accuracy()), row.official_accuracy())
                            : number_cell(kMissing, -1),
           number_cell(human_count(row.tokens_per_second()), row.tokens_per_second()),
           number_cell(human_bytes(row.peak_bytes), static_cast<double>(row.peak_bytes))});
    }
  }
  return out + table.str();
}

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

std::string accuracy_section(const std::vector<RunRecord>& runs) {
  const Evaluations all = collect(runs);
  if (all.rows.empty()) return "";
  std::string out = "<section><h2>Accuracy by length and task</h2>\n<h3>Exact match, %</h3>\n" +
                    accuracy_table(runs, all, exact_match) + accuracy_charts(runs, all, exact_match, "exact match");
  bool differs = false;
  for (const RunRecord& run : runs) {
    for (const EvalRow& row : run.evaluation) differs = differs || (row.has_official && row.official != row.correct);
  }
  out += differs ? "<h3>BABILong's metric, %</h3>\n" + accuracy_table(runs, all, official_metric) +
                       accuracy_charts(runs, all, official_metric, "accuracy")
                 : "<p class=\"soft\">BABILong's metric counts the same answers as right, where it was taken.</p>\n";
  return out + speed_part(runs, all) + "</section>\n";
}

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
