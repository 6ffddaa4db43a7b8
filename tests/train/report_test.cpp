#include "train/report/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/well_formed.h"
#include "train/report/charts.h"
#include "train/report/html.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string config(const std::string& lr) {
  return "run: {dir: x}\ntrain:\n  optimizer: {lr: " + lr +
         "}\n  stages:\n    - {name: \"short <ones>\", segments: [1]}\n    - {name: long, segments: [2, 4]}\n";
}

const char* const kMetrics =
    "{\"step\": 10, \"stage\": 1, \"loss\": 2.5, \"grad_norm\": 1.5, \"lr\": 0.001, \"tokens_per_second\": 900, "
    "\"memory_bytes\": 1048576, \"skipped\": 0}\n"
    "{\"step\": 20, \"stage\": 1, \"loss\": null, \"grad_norm\": 1.25, \"lr\": 0.001, \"tokens_per_second\": 1000, "
    "\"memory_bytes\": 2097152, \"skipped\": 1}\n"
    "{\"step\": 20, \"stage\": 1, \"validation_exact_match\": 0.5, \"validation_loss\": 1.5}\n"
    "{\"step\": 30, \"stage\": 2, \"loss\": 1.5, \"grad_norm\": 1, \"lr\": 0.0005, \"tokens_per_second\": 1100, "
    "\"memory_bytes\": 2097152, \"skipped\": 1}\n"
    "{\"step\": 30, \"stage\": 2, \"validation_exact_match\": 0.75, \"validation_loss\": 1.25}\n";

EvalRow row(const std::string& task, const std::string& length, std::int64_t tokens, std::int64_t correct) {
  EvalRow out;
  out.task = task;
  out.length = length;
  out.samples = 4;
  out.prompt_tokens = 4 * tokens;
  out.correct = out.official = correct;
  out.has_official = true;
  out.seconds = 2;
  out.peak_bytes = 1 << 20;
  return out;
}

void write_run(const std::string& folder, const std::string& lr, const std::string& output) {
  fs::create_directories(folder);
  write_file(folder + "/config.yaml", config(lr));
  write_file(folder + "/metrics.jsonl", kMetrics);
  const std::vector<EvalRow> rows{row("qa1", "4x", 400, 3), row("qa1", "1x", 100, 4)};
  write_file(folder + "/eval.json", eval_json(rows));
  write_file(folder + "/answers.csv",
             answers_csv_heading() + answers_csv(rows[0], {{"Where is Mary?", "office", output, false, false},
                                                           {"Where is John?", "garden", "garden", true, true}}));
}

TEST(RunRecord, MetricsBecomeColumns) {
  const RunMetrics m = parse_metrics(kMetrics, "m");
  EXPECT_EQ(m.of("loss").steps, (std::vector<double>{10, 20, 30}));
  EXPECT_EQ(m.of("loss").values[0], 2.5);
  EXPECT_TRUE(std::isnan(m.of("loss").values[1]));
  EXPECT_EQ(m.of("validation_loss").steps, (std::vector<double>{20, 30}));
  EXPECT_EQ(m.stages, (std::vector<std::pair<double, std::int64_t>>{{10, 1}, {30, 2}}));
  EXPECT_EQ(m.notes, (std::vector<std::string>{
                         "m: loss has 1 value that is not finite, first at step 20; the curve has a gap there"}));
  EXPECT_TRUE(m.of("nothing").steps.empty());
}

TEST(RunRecord, HostileMetricsAreLeftOutAndSaid) {
  const std::string good = "{\"step\": 1, \"loss\": 1}\n";
  const auto notes = [](const std::string& text) {
    const RunMetrics m = parse_metrics(text, "m");
    for (const auto& [key, series] : m.series) {
      EXPECT_EQ(series.steps.size(), series.values.size());
      EXPECT_TRUE(std::is_sorted(series.steps.begin(), series.steps.end()));
    }
    return m.notes.empty() ? "" : m.notes.front();
  };
  EXPECT_EQ(notes(""), "");
  EXPECT_EQ(notes("\n\r\n" + good), "");
  EXPECT_EQ(notes(good + "{\"step\": 2, \"lo"), "m:2: the last line is cut and left out");
  EXPECT_EQ(notes(good + "{\"step\": 2, \"loss\": 1}"), "") << "whole, but for its end";
  for (const char* line :
       {"{", "[]", "7", "null", "{\"loss\": 1}", "{\"step\": \"2\"}", "{\"step\": -1}", "{\"step\": 1e300}",
        "{\"step\": 1e999}", "{\"step\": NaN}", "\xff\xfe", "{\"step\": null}"}) {
    EXPECT_EQ(notes(std::string(line) + "\n" + good),
              "m:1: 1 line from here on is no JSON object with a step, and left out")
        << line;
  }
  EXPECT_EQ(notes(good + "x\ny\n" + good), "m:2: 2 lines from here on are no JSON object with a step, and left out");
  EXPECT_EQ(notes(std::string("\0\n", 2) + good),
            "m:1: 1 line from here on is no JSON object with a step, and left out");
  EXPECT_EQ(notes(std::string(100'000, '[') + "\n" + good),
            "m:1: 1 line from here on is no JSON object with a step, and left out");
  EXPECT_EQ(notes("{\"step\": 3, \"loss\": 1e200}\n"),
            "m: loss has 1 value that is not finite, first at step 3; the curve has a gap there");
  const RunMetrics again = parse_metrics(
      "{\"step\": 5, \"a\": 1, \"b\": \"x\", \"stage\": -3}\n{\"step\": 2, \"a\": 7}\n"
      "{\"step\": 5, \"a\": 2}\n",
      "m");
  EXPECT_EQ(again.of("a").steps, (std::vector<double>{2, 5}));
  EXPECT_EQ(again.of("a").values, (std::vector<double>{7, 2})) << "the later line holds";
  EXPECT_EQ(again.series.count("b"), 0u);
  EXPECT_TRUE(again.stages.empty());
}

TEST(RunRecord, EvaluationsReadBack) {
  std::vector<std::string> notes;
  EvalRow plain = row("", "mine", 10, 2);
  plain.has_official = false;
  const std::vector<EvalRow> rows = parse_eval_json(eval_json({row("qa1", "4k", 4000, 3), plain}), "e", notes);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].correct, 3);
  EXPECT_EQ(rows[0].official, 3);
  EXPECT_EQ(rows[0].prompt_tokens, 16000);
  EXPECT_EQ(rows[0].peak_bytes, 1u << 20);
  EXPECT_DOUBLE_EQ(rows[0].tokens_per_second(), 8000);
  EXPECT_EQ(rows[1].task, "-");
  EXPECT_FALSE(rows[1].has_official);
  EXPECT_TRUE(notes.empty());
  EXPECT_TRUE(parse_eval_json("{}", "e", notes).empty());
  EXPECT_TRUE(
      parse_eval_json("[1, {\"task\": \"qa1\", \"length\": \"4k\", \"samples\": 2, \"correct\": 3}]", "e", notes)
          .empty());
  EXPECT_EQ(notes, (std::vector<std::string>{"e: no list of results, left out",
                                             "e: 2 entries without task, length or counts"}));
}

TEST(RunRecord, AnswersReadBack) {
  const std::vector<EvalAnswer> answers{{"Where, \"now\"?", "a,b", "line\nbreak", true, false},
                                        {"?", "x", "", false, true}};
  const std::string text = answers_csv_heading() + answers_csv(row("qa8", "4k", 1, 1), answers);
  const std::vector<AnswerRow> read = parse_answers(text, "a");
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].task, "qa8");
  EXPECT_EQ(read[0].length, "4k");
  EXPECT_EQ(read[0].answer.question, "Where, \"now\"?");
  EXPECT_EQ(read[0].answer.target, "a,b");
  EXPECT_EQ(read[0].answer.output, "line\nbreak");
  EXPECT_TRUE(read[0].answer.correct);
  EXPECT_FALSE(read[0].answer.official);
  EXPECT_EQ(read[1].answer.output, "");
  EXPECT_TRUE(read[1].answer.official);
  EXPECT_ERROR(parse_answers("task,length,target,output,question,correct,official\na,b,c,d,e,yes,0\n", "a"), Error,
               "a:2: correct is 'yes', expected 0 or 1");
  EXPECT_ERROR(parse_answers("task,length\n", "a"), Error, "target");
}

TEST(Report, ShowsAllRuns) {
  const TempFolder folder;
  write_run(folder / "one", "1e-3", "kitchen");
  write_run(folder / "two", "2e-3", "hallway");
  const std::string page = report_html("Two of them", read_runs({folder / "one", folder / "two"}));
  expect_well_formed(page);
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>\n"));
  for (const char* part : {"<h1>Two of them</h1>",
                           "aria-label=\"Training loss\"",
                           "aria-label=\"Validation loss\"",
                           "aria-label=\"Learning rate\"",
                           "aria-label=\"Gradient norm\"",
                           "aria-label=\"Validation: exact match, %\"",
                           "aria-label=\"Tokens per second\"",
                           "aria-label=\"Memory, MiB\"",
                           "aria-label=\"Steps skipped so far\"",
                           "aria-label=\"qa1\"",
                           "aria-label=\"Reading speed\"",
                           "aria-label=\"Peak tensor memory\"",
                           "✗ kitchen",
                           "✗ hallway",
                           "✓ garden",
                           "<td>train.optimizer.lr</td>",
                           "<td>1e-3</td>",
                           "<td>2e-3</td>",
                           "2 of 2",
                           "prefers-color-scheme",
                           "@media print",
                           "stage 1: short &lt;ones&gt;, from step 10"}) {
    EXPECT_TRUE(contains(page, part)) << part;
  }
  EXPECT_FALSE(contains(page, "<td>run.dir</td>"));
  EXPECT_FALSE(contains(page, "src=")) << "nothing is loaded";
  // The strokes of the pictures' style sheet would be inherited by all words inside.
  for (const char* stroked : {"grid", "axis", "chance"}) {
    for (const char* tag : {"div", "figure", "section", "details", "body"}) {
      EXPECT_FALSE(contains(page, cat("<", tag, " class=\"", stroked, "\""))) << tag;
    }
  }
  EXPECT_TRUE(contains(page, "<td class=\"named\"")) << "names of runs keep their width";
  EXPECT_FALSE(contains(page, "http://"));
  EXPECT_FALSE(contains(page, "https://"));
  EXPECT_FALSE(contains(page, "url("));
  // Short lengths first, whatever the file's order.
  EXPECT_LT(page.find("<th class=\"n\">1x</th>"), page.find("<th class=\"n\">4x</th>"));
  // One colour a run: in the legend, in the tables, in the curves.
  EXPECT_GT(count(page, "stroke=\"" + line_colour(0) + "\""), 10u);
  EXPECT_EQ(count(page, "stroke=\"" + line_colour(0) + "\""), count(page, "stroke=\"" + line_colour(1) + "\""));
  EXPECT_EQ(count(page, "stroke=\"" + line_colour(2) + "\""), 0u);
}

TEST(Report, DifferencesAreThoseOfValuesAndOfKeys) {
  RunRecord one, two;
  one.config = {{"a", "1"}, {"b", "2"}, {"run.dir", "x"}, {"only", "3"}};
  two.config = {{"a", "1"}, {"b", "5"}, {"run.dir", "y"}, {"late", "4"}};
  const std::vector<ConfigDifference> found = config_differences({one, two});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].key, "b");
  EXPECT_EQ(found[0].values, (std::vector<std::string>{"2", "5"}));
  EXPECT_EQ(found[1].key, "only");
  EXPECT_EQ(found[1].values, (std::vector<std::string>{"3", "–"}));
  EXPECT_EQ(found[2].values, (std::vector<std::string>{"–", "4"}));
  EXPECT_TRUE(config_differences({one, one}).empty());
}

TEST(Report, TextOfRunsIsEscaped) {
  const std::string evil = "\"><script>alert(1)</script>&'\xff\x01]]>";
  RunRecord run;
  run.name = run.folder = run.config_text = evil;
  run.config = {{evil, evil}};
  run.stage_names = {evil};
  run.metrics = parse_metrics(kMetrics, evil);
  EvalRow result = row(evil, evil, 10, 2);
  run.evaluation = {result};
  run.answers = {{evil, evil, {evil, evil, evil, false, false}}};
  run.notes = {evil};
  RunRecord other = run;
  other.config = {{evil, "x"}};
  const std::string page = report_html(evil, {run, other});
  expect_well_formed(page);
  EXPECT_EQ(count(page, "<script>"), 1u) << "our own";
  EXPECT_EQ(count(page, "</script>"), 1u);
  EXPECT_GT(count(page, "&lt;script&gt;alert(1)"), 10u);
  EXPECT_FALSE(contains(page, "\x01"));
  EXPECT_FALSE(contains(page, "\xff"));
}

TEST(Report, ARunWithNothingIsAPageWithNotes) {
  const TempFolder folder;
  fs::create_directories(folder / "bare");
  write_file(folder / "bare/config.yaml", "a: [\n");
  const std::vector<RunRecord> runs = read_runs({folder / "bare"});
  const std::string page = report_html("bare", runs);
  expect_well_formed(page);
  EXPECT_TRUE(contains(page, "metrics.jsonl: not there, so there are no curves"));
  EXPECT_TRUE(contains(page, "eval.json: not there"));
  EXPECT_TRUE(contains(page, "config.yaml:"));
  EXPECT_FALSE(contains(page, "<h2>Training</h2>"));
  EXPECT_FALSE(contains(page, "<h2>Answers</h2>"));
  EXPECT_ERROR(report_html("x", {}), Error, "report: no run");
}

TEST(Report, RunsOfOneNameGoByTheirPaths) {
  const TempFolder folder;
  write_run(folder / "a/run", "1", "x");
  write_run(folder / "b/run", "1", "x");
  const std::vector<RunRecord> runs = read_runs({folder / "a/run/", folder / "b/run"});
  EXPECT_EQ(runs[0].name, folder / "a/run/");
  EXPECT_EQ(runs[1].name, folder / "b/run");
  EXPECT_EQ(read_runs({folder / "a/run/"})[0].name, "run");
  EXPECT_ERROR(read_runs({folder / "a/run", folder / "a/../a/run"}), UsageError, "is named twice");
  EXPECT_ERROR(read_runs({folder / "c"}), UsageError, "c: no such folder");
  EXPECT_ERROR(read_runs({folder / "a"}), UsageError, "a: holds no run (no config.yaml)");
}

TEST(Report, TheCommandWritesOnePageOrNothing) {
  const TempFolder folder;
  write_run(folder / "one", "1e-3", "kitchen");
  const std::string page = folder / "page.html";
  const auto report = [&](const std::string& rest) {
    return run_program("report " + rest + " --output '" + page + "'");
  };
  for (const std::string& bad : {"/nonexistent '" + folder / "one" + "'", "'" + folder.path() + "'", std::string()}) {
    const ProgramResult result = report(bad);
    EXPECT_EQ(result.code, 2) << bad;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_FALSE(fs::exists(page));
  }
  const ProgramResult good = report("'" + folder / "one" + "'");
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_TRUE(contains(good.err, "wavetape: one: metrics.jsonl: loss has 1 value that is not finite")) << good.err;
  expect_well_formed(read_file(page));
  EXPECT_TRUE(contains(read_file(page), "<h1>one</h1>"));
  EXPECT_EQ(run_program("report '" + folder / "one" + "' --output /nonexistent/page.html").code, 1);
}

TEST(Html, TablesAreChecked) {
  HtmlTable table({"a<b", "n"}, 1);
  EXPECT_TRUE(table.is_empty());
  EXPECT_ERROR(table.add_row({}), Error, "0 cells for 2 columns");
  HtmlCell cell;
  cell.text = "x\ny";
  cell.sort_key = "2.5";
  cell.tooltip = "\"";
  table.add_row({cell, cell});
  EXPECT_TRUE(contains(table.str(), "<th>a&lt;b</th><th class=\"n\">n</th>"));
  EXPECT_TRUE(contains(table.str(), "<td class=\"n\" data-key=\"2.5\" title=\"&quot;\">x\ny</td>"));
  expect_well_formed(table.str());
  EXPECT_EQ(html_escaped("a\n\tb<&\x02"), "a\n\tb&lt;&amp; ");
}

}  // namespace
}  // namespace wt
