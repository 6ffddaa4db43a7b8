// Evaluation with prompts, BABILong's metric, and the layout of its leaderboard.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "data/csv.h"
#include "data/tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "train/eval/accuracy.h"
#include "train/eval/evaluate.h"
#include "train/eval/official_results.h"
#include "train/eval/score.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

const std::string kSource = WAVETAPE_SOURCE_DIR;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

EvalRow row(const std::string& task, const std::string& length, std::int64_t correct, std::int64_t official) {
  EvalRow out;
  out.task = task;
  out.length = length;
  out.samples = 4;
  out.correct = correct;
  out.official = official;
  out.has_official = !task.empty();
  out.chance = chance_of(task);
  out.prompt_tokens = 40;
  out.seconds = 2;
  out.peak_bytes = 2048;
  return out;
}

TEST(OfficialEval, BothMetricsStandInEveryReport) {
  const std::vector<EvalRow> rows{row("qa1", "4k", 1, 3), row("", "mine, all", 2, 0)};
  EXPECT_EQ(eval_csv(rows),
            "task,length,samples,correct,accuracy,prompt_tokens,seconds,tokens_per_second,peak_bytes,official_correct,"
            "official_accuracy,cut,accuracy_low,accuracy_high,chance\n"
            "qa1,4k,4,1,0.250000,40,2.000,20.0,2048,3,0.750000,0,0.045587,0.699358,0.166667\n"
            "-,\"mine, all\",4,2,0.500000,40,2.000,20.0,2048,,,0,0.150039,0.849961,\n");
  const nlohmann::json list = nlohmann::json::parse(eval_json(rows));
  EXPECT_EQ(list[0]["official_correct"], 3);
  EXPECT_EQ(list[0]["official_accuracy"], 0.75);
  EXPECT_TRUE(list[1]["official_accuracy"].is_null());
  EXPECT_NEAR(list[0]["accuracy_low"].get<double>(), 0.045587, 1e-6);
  EXPECT_NEAR(list[0]["chance"].get<double>(), 1.0 / 6, 1e-12);
  EXPECT_TRUE(list[1]["chance"].is_null());
  const std::string table = eval_table(rows);
  EXPECT_TRUE(contains(table, "exact match        95 %  official"));
  EXPECT_TRUE(contains(table, "0.250   0.05-0.70     0.750")) << table;
  EXPECT_TRUE(contains(table, "0.500   0.15-0.85         -")) << table;
}

TEST(OfficialEval, WhatAModelWritesIsWrittenAsUtf8) {
  EvalAnswer answer;
  answer.question = "Where?";
  answer.target = "office";
  answer.output = "\xB9 of\xE2\x82";
  EvalRow given = row("qa1", "4\xFFk", 1, 1);
  const std::string csv = answers_csv(given, {answer});
  EXPECT_EQ(csv, "qa1,4\uFFFDk,office,\uFFFD of\uFFFD\uFFFD,Where?,0,0\n");
  EXPECT_EQ(official_csv({answer}), ",target,output,question\n0,office,\uFFFD of\uFFFD\uFFFD,Where?\n");
  EXPECT_TRUE(contains(eval_json({given}), "4\uFFFDk"));
}

TEST(OfficialEval, AnswersCutAtTheTokenLimitAreSaid) {
  EvalRow some = row("qa1", "4k", 1, 3), none = row("qa2", "4k", 2, 0);
  some.cut = 3;
  const std::string table = eval_table({some, none});
  EXPECT_TRUE(contains(table, "\nqa1 4k: 3 of 4 answers were cut at the token limit")) << table;
  EXPECT_FALSE(contains(table, "qa2 4k:")) << table;
  EXPECT_EQ(nlohmann::json::parse(eval_json({some}))[0]["cut"], 3);
}

TEST(OfficialEval, TheChartHasALineForEachTask) {
  const std::vector<EvalRow> rows{row("qa1", "4k", 1, 3), row("qa1", "1x", 4, 4), row("qa2", "1x", 2, 2)};
  const std::string exact = eval_chart(rows, false), official = eval_chart(rows, true);
  EXPECT_TRUE(contains(exact, "<title>qa1, 4k: 25 % (4.56 to 69.9)</title>") && contains(exact, "exact match"));
  EXPECT_TRUE(contains(official, "<title>qa1, 4k: 75 % (30.1 to 95.4)</title>") &&
              contains(official, "BABILong's metric"));
  EXPECT_TRUE(contains(official, "<title>qa2, 1x: 50 % (15 to 85)</title>"));
  EXPECT_FALSE(contains(official, "qa2, 4k"));
}

// The bytes are those of pandas: DataFrame.to_csv of the same three columns.
TEST(OfficialEval, TheCsvHasTheLeaderboardsBytes) {
  const std::vector<EvalAnswer> answers{
      {"Where is Mary? ", "office", "The office.", false, true},
      {"What is Mary carrying? ", "apple,milk", "", false, false},
      {"Where is \"John\"?", "garden", "line one\nline two, \"quoted\"\r", false, false},
      {"Where?", "office", "cut \xc3", false, false}};
  EXPECT_EQ(official_csv(answers),
            ",target,output,question\n"
            "0,office,The office.,Where is Mary? \n"
            "1,\"apple,milk\",,What is Mary carrying? \n"
            "2,garden,\"line one\nline two, \"\"quoted\"\"\r\",\"Where is \"\"John\"\"?\"\n"
            "3,office,cut \uFFFD,Where?\n");
  EXPECT_EQ(official_csv({}), ",target,output,question\n");
}

TEST(OfficialEval, TheJsonHasTheLeaderboardsSettings) {
  OfficialSettings settings;
  settings.prompt = {"Do \u2019it\u2019.\n", "", "Short.", "{context} {question}"};
  settings.max_new_tokens = 20;
  settings.model = "DIR";
  settings.seed = 7;
  const std::string text = official_json(settings);
  EXPECT_EQ(text.rfind("{\n    \"prompt\": {\n        \"instruction\": \"Do \\u2019it\\u2019.\\n\",\n", 0), 0u) << text;
  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json["prompt"]["template"], "{context} {question}");
  EXPECT_EQ(json["prompt"]["chat_template"], false);
  EXPECT_EQ(json["generate_kwargs"]["max_new_tokens"], 20);
  EXPECT_EQ(json["generate_kwargs"]["do_sample"], false);
  EXPECT_EQ(json["wavetape"]["seed"], 7);
  EXPECT_TRUE(json["wavetape"]["set"].is_null());
}

TEST(OfficialEval, FileNamesSayWhatIsInside) {
  EXPECT_EQ(official_config_name({"i", "", "p", ""}, {}),
            "instruction_yes_examples_no_post_prompt_yes_chat_template_no_system_prompt_no");
  EXPECT_EQ(official_config_name({"", "e", "", ""}, {true, "Be brief."}),
            "instruction_no_examples_yes_post_prompt_no_chat_template_yes_system_prompt_yes");
  EXPECT_EQ(official_file_name("qa1", "4k", "bare_1"), "qa1_4k_bare_1");
  for (const char* name : {"", "a/b", "a\nb"}) {
    EXPECT_ERROR(official_file_name("qa1", "4k", name), UsageError, "becomes part of a file's name");
  }
  EXPECT_ERROR(official_file_name("qa1", "4k_x", "bare"), UsageError, "length `4k_x`");
}

// A model that knows nothing, after two steps; what it says does not matter here.
class OfficialEvalProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    write_file(
        *folder_ / "config.yaml",
        cat("run: {dir: ", *folder_ / "run", ", device: cpu, threads: 1}\n",
            "model:\n  type: llama\n  hidden_size: 16\n  intermediate_size: 24\n  num_layers: 2\n  num_heads: 2\n",
            "  max_positions: 128\n  armt: {segment_size: 64, num_mem_tokens: 2, d_mem: 4, nu: 3}\n",
            "data: {task: qa1, books: none, tokenizer: ", kSource, "/data/tokenizer/tokenizer.json}\n",
            "train:\n  batch_size: 2\n  validate_every: 2\n  validation_samples: 2\n",
            "  stages:\n    - {segments: 3, steps: 2, lr: 1e-3}\n"));
    const ProgramResult trained = run_program("train " + *folder_ / "config.yaml" + " --no-eval");
    ASSERT_EQ(trained.code, 0) << trained.err;
    fs::create_directory(*folder_ / "qa2");
    write_file(*folder_ / "qa2/4k.json",
               R"([{"input": "Mary took the milk. Mary went to the office.", "question": "Where is the milk? ",)"
               R"( "target": "office"}, {"input": "John went to the garden.", "question": "Where, \"John\"?",)"
               R"( "target": "garden"}])");
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  static std::string run() { return at("run"); }
  static void expect_usage_error(const std::string& arguments, const std::string& what) {
    const ProgramResult result = run_program("eval " + run() + " " + arguments);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_TRUE(contains(result.err, what)) << result.err;
  }

  static TempFolder* folder_;
};
TempFolder* OfficialEvalProgram::folder_ = nullptr;

TEST_F(OfficialEvalProgram, WritesWhatScoreReads) {
  const TempFolder out;
  const ProgramResult result =
      run_program(cat("eval ", run(), " --task qa1 qa2 --length 0k --samples 3 --layout official --name bare --output ",
                      out / "org/model", " --plot ", out / "accuracy.svg"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "official"));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(out / "org/model")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names,
            (std::vector<std::string>{"qa1_0k_bare.csv", "qa1_0k_bare.json", "qa2_0k_bare.csv", "qa2_0k_bare.json"}));
  const CsvTable table = read_csv(out / "org/model/qa1_0k_bare.csv");
  EXPECT_EQ(table.header.fields, (std::vector<std::string>{"", "target", "output", "question"}));
  EXPECT_EQ(table.rows.size(), 3u);
  EXPECT_EQ(table.rows[2].fields[0], "2");
  EXPECT_TRUE(contains(table.rows[0].fields[3], "Where is "));
  const nlohmann::json json = nlohmann::json::parse(read_file(out / "org/model/qa2_0k_bare.json"));
  EXPECT_EQ(json["prompt"]["instruction"], "");
  EXPECT_EQ(json["prompt"]["template"], "{context} {question}");
  EXPECT_EQ(json["generate_kwargs"]["max_new_tokens"], EvalOptions{}.max_new_tokens);
  const std::vector<ScoreCell> cells = score_folder(out / "org/model");
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_EQ(cells[0].samples, 3);
  EXPECT_TRUE(contains(read_file(out / "accuracy.svg"), "<title>qa2, 0k: "));
}

TEST_F(OfficialEvalProgram, PromptsGoAroundSetsAndSamples) {
  const TempFolder out;
  const std::string prompts = kSource + "/data/prompts.yaml";
  const ProgramResult set = run_program(cat("eval ", run(), " --set ", at("qa2/4k.json"), " --prompts ", prompts,
                                            " --show --layout official --output ", out / "a"));
  ASSERT_EQ(set.code, 0) << set.err;
  EXPECT_TRUE(contains(set.out, "Where, \"John\"?")) << set.out;
  const std::string name =
      out / "a/qa2_4k_instruction_yes_examples_yes_post_prompt_yes_chat_template_no_system_prompt_no";
  const CsvTable table = read_csv(name + ".csv");
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[1].fields[3], "Where, \"John\"?");
  const nlohmann::json json = nlohmann::json::parse(read_file(name + ".json"));
  EXPECT_TRUE(contains(json["prompt"]["instruction"].get<std::string>(), "carried"));
  EXPECT_EQ(json["generate_kwargs"]["max_new_tokens"], 20);
  EXPECT_TRUE(json["wavetape"]["seed"].is_null());
  // The prompt is much longer than the bare question.
  const auto tokens = [&](const std::string& arguments) {
    const ProgramResult result =
        run_program(cat("eval ", run(), " --task qa1 --length 0k --samples 2 --output ", out / "b ", arguments));
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(read_file(out / "b/eval.json"))[0]["prompt_tokens"].get<int>();
  };
  EXPECT_GT(tokens("--prompts " + prompts), tokens("") + 2 * 100);
}

// The names and settings are those of BABILong's scripts/run_model_on_babilong.py --use_chat_template.
TEST_F(OfficialEvalProgram, PromptsGoThroughTheChatTemplate) {
  const TempFolder out;
  const std::string model = out / "model";
  fs::copy(run(), model, fs::copy_options::recursive);
  const std::string common = cat("eval ", model, " --set ", at("qa2/4k.json"), " --prompts ", kSource,
                                 "/data/prompts.yaml --layout official --output ", out / "a");
  const ProgramResult none = run_program(common + " --chat");
  EXPECT_EQ(none.code, 2);
  EXPECT_TRUE(contains(none.err, "no chat template there")) << none.err;
  write_file(model + "/chat_template.jinja",
             "{% for m in messages %}<|endoftext|>{{ m.role }}: {{ m.content }}{% endfor %}"
             "{{ '<|endoftext|>assistant:' if add_generation_prompt }}");
  const auto tokens = [&](const std::string& options) {
    const ProgramResult result = run_program(cat("eval ", model, " --set ", at("qa2/4k.json"), " --prompts ", kSource,
                                                 "/data/prompts.yaml --output ", out / "b ", options));
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(read_file(out / "b/eval.json"))[0]["prompt_tokens"].get<std::int64_t>();
  };
  const Tokenizer tokenizer = Tokenizer::load(kSource + "/data/tokenizer/tokenizer.json");
  const auto around = [&](const std::string& text) {
    return 2 * static_cast<std::int64_t>(tokenizer.encode(text).size());  // two samples
  };
  const std::int64_t bare = tokens(""), chat = tokens("--chat"), with_system = tokens("--chat --system 'Be brief.'");
  EXPECT_GT(chat, bare);
  EXPECT_EQ(with_system - chat, around("<|endoftext|>system: Be brief."));

  const ProgramResult official = run_program(common + " --chat --system 'Be brief.'");
  ASSERT_EQ(official.code, 0) << official.err;
  const std::string name =
      out / "a/qa2_4k_instruction_yes_examples_yes_post_prompt_yes_chat_template_yes_system_prompt_yes";
  EXPECT_EQ(read_csv(name + ".csv").rows.size(), 2u);
  const nlohmann::json json = nlohmann::json::parse(read_file(name + ".json"));
  EXPECT_EQ(json["prompt"]["chat_template"], true);
  EXPECT_EQ(json["prompt"]["system_prompt"], "Be brief.");
  EXPECT_EQ(run_program(cat("eval ", model, " --set ", at("qa2/4k.json"), " --chat")).code, 2);
}

TEST_F(OfficialEvalProgram, ImpossibleRequestsAreNamed) {
  const TempFolder out;
  write_file(out / "p.yaml", "qa1: {}\n");
  write_file(out / "bad.yaml", "qa1: {instruktion: x}\n");
  fs::copy(at("qa2/4k.json"), out / "mine.json");
  expect_usage_error("--layout official", "--layout official needs a folder: --output DIR");
  expect_usage_error("--name x", "--name is for --layout official");
  expect_usage_error("--layout leaderboard", "--layout");
  expect_usage_error("--layout official --name a/b --output " + (out / "r"), "expected text without slashes");
  expect_usage_error("--task qa2 --prompts " + (out / "p.yaml"), "p.yaml: no prompt for qa2; the file has qa1");
  expect_usage_error("--prompts " + (out / "bad.yaml"), "bad.yaml:1: qa1.instruktion: unknown key");
  expect_usage_error("--prompts " + (out / "p.yaml") + " --set " + (out / "mine.json"), "mine.json: which task is it?");
  expect_usage_error(
      cat("--layout official --output ", out / "r", " --set ", at("qa2/4k.json"), " ", at("qa2/4k.json")),
      "would be written twice");
  expect_usage_error("--length 0k 1k --layout official --output " + (out / "r"), "length 1k hides the facts in book");
  EXPECT_FALSE(fs::exists(out / "r"));
  write_file(out / "book.txt", "It was a dark night.\n");
  expect_usage_error(
      cat("--task qa1 --length 64 --books ", out / "book.txt", " --prompts ", kSource, "/data/prompts.yaml"),
      "the prompt of qa1 alone has");
  ASSERT_EQ(run_program(cat("data babilong --length 0k --samples 2 --tokenizer ", kSource, "/data/tokenizer --output ",
                            out / "qa1_0k.h5"))
                .code,
            0);
  expect_usage_error("--prompts " + (out / "p.yaml") + " --set " + (out / "qa1_0k.h5"), "holds tokens, and prompts go");
  EXPECT_FALSE(fs::exists(out / "r/qa1_0k_a.csv"));
}

}  // namespace
}  // namespace wt
