// Evaluation: however samples are grouped, read and cut into pieces, the answers are those of one at a time.
#include "train/eval/evaluate.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/files.h"
#include "data/csv.h"
#include "data/eval_set.h"
#include "data/tokenizer.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/eval/prompts.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

const std::string kTokenizer = WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json";

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load(kTokenizer);
  return loaded;
}

enum class Memory : std::uint8_t { kArmt, kRmt, kNone };

class Evaluations : public testing::TestWithParam<Memory> {
 protected:
  Evaluations() {
    ModelConfig config = tiny_config("llama", 3);  // segments of 5
    config.vocab_size = tokenizer().vocab_size();
    config.max_positions = 4096;
    if (GetParam() != Memory::kArmt) config.armt.reset();
    if (GetParam() == Memory::kRmt) {
      config.rmt.emplace();
      config.rmt->segment_size = 5;
      config.rmt->num_mem_tokens = 2;
    }
    model_ = tiny_model(config);
    const std::vector<std::int64_t> lengths{23, 2,  61, 5, 6, 33, 1,  26, 17, 12, 9, 44, 3, 3, 31,
                                            18, 27, 5,  8, 2, 14, 40, 11, 7,  22, 1, 16, 4, 9};
    prompts_ = random_batch(lengths, 1, config.vocab_size).sequences;
    slow_.batch_size = 1;
    slow_.schedule = Schedule::kSequential;
    slow_.max_new_tokens = 4;
  }

  // Every answer, by sample.
  std::vector<std::string> answers(EvalOptions options, const std::function<bool(std::int64_t)>& in_pieces = {}) {
    std::vector<std::string> out;
    options.progress = [&](std::int64_t done, const EvalAnswer& answer) {
      out.push_back(answer.output);
      EXPECT_EQ(done, static_cast<std::int64_t>(out.size()));
      EXPECT_EQ(answer.question, cat("q", done - 1));
      return true;
    };
    std::int64_t tokens = 0, asked = 0;
    const auto item = [&](std::int64_t i) {
      EXPECT_EQ(i, asked++);
      const auto& prompt = prompts_[static_cast<std::size_t>(i)];
      tokens += static_cast<std::int64_t>(prompt.size());
      EvalItem item_i{prompt, cat("q", i), "t"};
      if (in_pieces && in_pieces(i)) {
        item_i.prompt.clear();
        item_i.pieces = [prompt, at = std::make_shared<std::size_t>(0)] {
          const std::size_t begin = std::exchange(*at, std::min(prompt.size(), *at + 3));
          return std::vector<std::int32_t>(prompt.begin() + static_cast<std::ptrdiff_t>(begin),
                                           prompt.begin() + static_cast<std::ptrdiff_t>(*at));
        };
      }
      return item_i;
    };
    const EvalRow row = evaluate(*model_, tokenizer(), find_end_token(tokenizer()),
                                 static_cast<std::int64_t>(prompts_.size()), item, options);
    EXPECT_EQ(row.samples, static_cast<std::int64_t>(prompts_.size()));
    EXPECT_EQ(row.prompt_tokens, tokens);
    return out;
  }

  std::unique_ptr<Model> model_;
  TokenSequences prompts_;
  EvalOptions slow_;
};

TEST_P(Evaluations, GroupsAnswerAsOneByOne) {
  const std::vector<std::string> expected = answers(slow_);
  const std::set<std::string> different(expected.begin(), expected.end());
  EXPECT_GT(different.size(), prompts_.size() / 2) << "the answers must depend on the prompts";
  std::vector<Schedule> schedules{Schedule::kSequential};
  if (GetParam() != Memory::kRmt) schedules = {Schedule::kStreaming, Schedule::kDiagonal};
  for (const Schedule schedule : schedules) {
    for (const std::int64_t batch_size : {1, 3, 8, 100}) {
      EvalOptions options = slow_;
      options.schedule = schedule;
      options.batch_size = batch_size;
      EXPECT_EQ(answers(options), expected) << name_of(schedule) << batch_size;
      EXPECT_EQ(answers(options, [](std::int64_t) { return true; }), expected) << name_of(schedule) << batch_size;
      EXPECT_EQ(answers(options, [](std::int64_t i) { return i % 5 < 2; }), expected) << "of both kinds";
    }
  }
}

TEST_P(Evaluations, StopsWhereItIsTold) {
  EvalOptions options = slow_;
  options.batch_size = 4;
  int heard = 0;
  options.progress = [&](std::int64_t, const EvalAnswer&) { return ++heard < 6; };
  const auto item = [&](std::int64_t i) { return EvalItem{prompts_[static_cast<std::size_t>(i)], "q", "t"}; };
  EXPECT_EQ(evaluate(*model_, tokenizer(), find_end_token(tokenizer()), 20, item, options).samples, 6);
  options.progress = {};
  EXPECT_EQ(evaluate(*model_, tokenizer(), find_end_token(tokenizer()), 20, item, options).samples, 20);
  // A long sample, in the middle.
  options.reading = [](std::int64_t tokens) { return tokens < 1000; };
  const auto endless = [&](std::int64_t) {
    return EvalItem{{}, "q", "t", [] { return std::vector<std::int32_t>(100, 7); }};
  };
  const EvalRow row = evaluate(*model_, tokenizer(), find_end_token(tokenizer()), 20, endless, options);
  EXPECT_EQ(row.samples, 0);
  EXPECT_EQ(row.prompt_tokens, 1000);
}

INSTANTIATE_TEST_SUITE_P(Models, Evaluations, testing::Values(Memory::kArmt, Memory::kRmt, Memory::kNone),
                         [](const testing::TestParamInfo<Memory>& given) {
                           return std::string(given.param == Memory::kArmt  ? "armt"
                                              : given.param == Memory::kRmt ? "rmt"
                                                                            : "none");
                         });

// A model as small as can be, so that a long text takes seconds.
class LongSets : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    write_file(*folder_ / "config.yaml",
               cat("run: {dir: ", *folder_ / "run", ", device: cpu, threads: 1}\n",
                   "model:\n  type: llama\n  hidden_size: 4\n  intermediate_size: 4\n  num_layers: 1\n  num_heads: 1\n",
                   "  max_positions: 128\n  armt: {segment_size: 32, num_mem_tokens: 1, d_mem: 1, nu: 1}\n",
                   "data: {task: qa1, books: none, tokenizer: ", kTokenizer, "}\n",
                   "train: {batch_size: 1, stages: [{segments: 1, steps: 1, lr: 0.001}]}\n"));
    const ProgramResult result = run_program(cat("train '", *folder_ / "config.yaml", "' --no-eval"));
    ASSERT_EQ(result.code, 0) << result.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  // A set of one sample with that many bytes of context.
  static std::string make_set(const std::string& name, std::size_t bytes) {
    std::string text;
    for (int i = 0; text.size() < bytes; ++i) text += cat("Mary and John walked ", i, " times to the office. ");
    text.resize(bytes - 30);
    text += "Mary went to the kitchen.";
    const std::string path = *folder_ / (name + ".json");
    write_eval_json(path, std::vector<EvalSample>{{text, "Where is Mary? ", "kitchen", {}}});
    return path;
  }

  static ProgramResult run_eval(const std::string& set, const std::string& more = "") {
    return run_program(cat("eval '", *folder_ / "run", "' --set '", set, "' --task qa1 ", more));
  }

  static TempFolder* folder_;
};
TempFolder* LongSets::folder_ = nullptr;

// AddressSanitizer keeps freed memory back, so that in its builds the peak says nothing of the program.
#ifndef __SANITIZE_ADDRESS__
// The most memory that any program run so far has had at once.
std::int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_maxrss * 1024;
}

TEST_F(LongSets, TakeNoMoreMemoryThanShortOnes) {
  const std::size_t small = std::size_t{9} << 19, large = std::size_t{12} << 20;  // bytes
  const std::string prompts = "--prompts " WAVETAPE_SOURCE_DIR "/data/prompts.yaml";
  const std::string first = make_set("small", small), second = make_set("large", large);
  for (const std::string& more : {std::string(), prompts}) {
    ASSERT_EQ(run_eval(first, more).code, 0);
    const std::int64_t before = peak_bytes();
    const ProgramResult result = run_eval(second, more);
    ASSERT_EQ(result.code, 0) << result.err;
    // The context alone is 7.5 MiB longer, its tokens take more than that again.
    EXPECT_LT(peak_bytes() - before, std::int64_t{5} << 20) << more;
  }
}
#endif

TEST_F(LongSets, AnswerAsInMemory) {
  const std::string path = make_set("long", std::size_t{3} << 20);
  const EvalSet set(path, tokenizer());
  const EvalSample sample = set.sample(0);
  const auto model = load_model(find_model(*folder_ / "run"), DType::kF64, Stream{});
  const TaskPrompt prompt = Prompts::load(WAVETAPE_SOURCE_DIR "/data/prompts.yaml").of("qa1");
  const EncodeOptions special{.add_special_tokens = true};
  const auto context = [&] { return set.input(0); };
  const auto answer = [&](const std::function<EvalItem(std::int64_t)>& item) {
    EvalOptions options;
    std::string output;
    options.progress = [&](std::int64_t, const EvalAnswer& given) {
      output = given.output;
      return true;
    };
    const EvalRow row = evaluate(*model, tokenizer(), -1, 1, item, options);
    EXPECT_GT(row.prompt_tokens, 500000);
    return std::pair(output, row.prompt_tokens);
  };
  EXPECT_EQ(answer([&](std::int64_t) {
              return EvalItem{prompt_tokens(sample, tokenizer(), {}), "q", "t"};
            }),
            answer([&](std::int64_t) {
              return EvalItem{{}, "q", "t", prompt_pieces(set, 0, tokenizer(), {})};
            }));
  EXPECT_EQ(
      answer([&](std::int64_t) {
        return EvalItem{tokenizer().encode(format_prompt(prompt, sample.input, sample.question), special), "q", "t"};
      }),
      answer([&](std::int64_t) {
        return EvalItem{{}, "q", "t", encoded(tokenizer(), special, format_prompt(prompt, context, sample.question))};
      }));
}

// Ctrl-C while the second set is read: the first one's results are there, and nothing of the second.
TEST_F(LongSets, WhatIsDoneIsKept) {
  const std::string first = make_set("done", 1000), second = make_set("cut", std::size_t{12} << 20);
  const std::string results = *folder_ / "results";
  const ProgramResult result =
      run_program(cat("eval '", *folder_ / "run", "' --set '", first, "' '", second, "' --task qa1 --output '", results,
                      "' & pid=$!; for i in {1..600}; do [ -f '", results,
                      "/answers.csv' ] && break; sleep 0.05; done; ", "kill -INT $pid; wait $pid"),
                  "set +e; set -m;");
  EXPECT_EQ(result.code, 130);
  EXPECT_EQ(result.err,
            "\nstopping; once more to stop at once\n"
            "wavetape: stopped by signal 2 in qa1 cut; finished before it: 1 of 2\n");
  const std::string csv = read_file(results + "/eval.csv"), answers = read_file(results + "/answers.csv");
  EXPECT_NE(csv.find("\nqa1,done,1,"), std::string::npos) << csv;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2) << csv;
  EXPECT_NE(answers.find("\nqa1,done,kitchen,"), std::string::npos) << answers;
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 2) << answers;
  EXPECT_NE(result.out.find(" done "), std::string::npos) << result.out;
}

// The same where an earlier evaluation has left its results: they stay until there are as many.
TEST_F(LongSets, WhatAnEarlierEvaluationFoundStays) {
  const std::string first = make_set("early", 1000), second = make_set("late", std::size_t{12} << 20);
  const TempFolder results;
  for (const char* name : {"eval.csv", "eval.json", "answers.csv"}) write_file(results / name, "all of it\n");
  const std::string command = cat("eval '", *folder_ / "run", "' --task qa1 --output '", results.path(), "' --set '");
  const ProgramResult stopped =
      run_program(cat(command, first, "' '", second, "' & pid=$!; for i in {1..600}; do [ -f '", results.path(),
                      "/answers.csv.partial' ] && break; sleep 0.05; done; kill -INT $pid; wait $pid"),
                  "set +e; set -m;");
  EXPECT_EQ(stopped.code, 130);
  EXPECT_NE(stopped.err.find(cat("finished before it: 1 of 2 (in ", results / "answers.csv.partial", ", ")),
            std::string::npos)
      << stopped.err;
  for (const char* name : {"eval.csv", "eval.json", "answers.csv"}) {
    EXPECT_EQ(read_file(results / name), "all of it\n");
    EXPECT_NE(read_file(results / cat(name, ".partial")).find("early"), std::string::npos) << name;
  }
  // The same command to its end: two results, and nothing beside them but what was left above.
  const ProgramResult whole = run_program(cat(command, first, "' '", make_set("late", 1000), "'"));
  EXPECT_EQ(whole.code, 0) << whole.err;
  const std::string csv = read_file(results / "eval.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3) << csv;
  EXPECT_FALSE(std::filesystem::exists(results / "eval.csv.partial2"));
}

// Answers of random weights do not end by themselves.
TEST_F(LongSets, AnswersCutAtTheTokenLimitAreCounted) {
  const TempFolder results;
  const ProgramResult result =
      run_eval(make_set("short", 1000), cat("--max-new-tokens 2 --output '", results.path(), "'"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("qa1 short: 1 of 1 answers were cut at the token limit (--max-new-tokens"),
            std::string::npos)
      << result.out;
  const std::string csv = read_file(results / "eval.csv");
  const CsvTable table = parse_csv(csv, "eval.csv");
  EXPECT_EQ(table.rows.at(0).fields[table.column("cut")], "1") << csv;
}

TEST_F(LongSets, DamagedOnesAreNamedBeforeAnythingIsRead) {
  const std::string path = make_set("damaged", std::size_t{5} << 20);
  const std::string text = read_file(path);
  write_file(path, text.substr(0, text.size() / 2));
  const ProgramResult result = run_eval(path);
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find(cat("damaged.json: not valid JSON near byte ", text.size() / 2, " (sample 0)")),
            std::string::npos)
      << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
}

}  // namespace
}  // namespace wt
