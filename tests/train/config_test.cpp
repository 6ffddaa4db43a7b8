#include "train/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

const char* const kSmall = R"(run:
  dir: runs/x
model:
  hidden_size: 64
  num_layers: 2
  num_heads: 4
  armt: {segment_size: 32, num_mem_tokens: 4, d_mem: 8}
data:
  books: books.h5
  tokenizer: tok.json
  inline_question_rate: 0.7
train:
  batch_size: 16
  optimizer: {lr: 2e-3}
  stages:
    - {name: one, steps: 100}
    - name: two
      segments: [1, 2, 4]
      steps: 1e3
      lr: 1e-4
      inline_question_rate: 0
)";

Config small(const std::vector<std::string>& overrides = {}) {
  return parse_config(kSmall, "c.yaml", overrides);
}

void expect_refused(const std::string& override, const std::string& message) {
  EXPECT_ERROR(small({override}), UsageError, message);
}

TEST(Config, ReadsValuesAndKeepsDefaults) {
  const Config c = small();
  EXPECT_EQ(c.run.dir, "runs/x");
  EXPECT_EQ(c.run.dtype, DType::kF32);
  EXPECT_EQ(c.model.hidden_size, 64);
  EXPECT_EQ(c.model.attention().head_width(c.model.hidden_size), 16);
  EXPECT_EQ(c.model.attention().kv_heads(), 4);
  EXPECT_EQ(c.model.mlp_width(), 256);
  EXPECT_TRUE(c.model.armt);
  EXPECT_EQ(c.model.armt->d_mem, 8);
  EXPECT_EQ(c.model.armt->num_features(), 48);
  EXPECT_TRUE(c.model.armt->correction);
  EXPECT_EQ(c.data.tasks(), std::vector<std::string>{"qa1"});
  EXPECT_EQ(c.train.wave_schedule, Schedule::kDiagonal);
  EXPECT_EQ(c.train.total_steps(), 1100);
}

TEST(Config, StagesInheritWhatTheyLeaveOut) {
  const Config c = small();
  ASSERT_EQ(c.train.stages.size(), 2u);
  const StageConfig& one = c.train.stages[0];
  EXPECT_EQ(one.batch_size, 16);
  EXPECT_EQ(one.lr, 2e-3);
  EXPECT_EQ(one.inline_question_rate, 0.7);
  EXPECT_EQ(one.segments, std::vector<std::int64_t>{1});
  EXPECT_EQ(one.warmup_steps(), 10);
  const StageConfig& two = c.train.stages[1];
  EXPECT_EQ(two.steps, 1000);
  EXPECT_EQ(two.lr, 1e-4);
  EXPECT_EQ(two.inline_question_rate, 0);
  EXPECT_EQ(two.max_segments(), 4);
  EXPECT_EQ(small({"train.batch_size=9"}).train.stages[0].batch_size, 9);
  EXPECT_EQ(small({"train.warmup=25"}).train.stages[1].warmup_steps(), 25);
  EXPECT_EQ(small({"data.books=none"}).train.stages[0].background_ratio, 0);
}

TEST(Config, SeveralTasksHaveWeights) {
  using Tasks = std::vector<WeightedName>;
  const char* const kNoQuestions = "data.inline_question_rate=0";
  EXPECT_EQ(small({"data.task=qa20", kNoQuestions}).data.task, (Tasks{{"qa20", 1}}));
  EXPECT_EQ(small({"data.task=[qa3, qa8]", kNoQuestions}).data.task, (Tasks{{"qa3", 1}, {"qa8", 1}}));
  const Config c = small({"data.task={qa1: 1, qa19: 0.5}"});
  EXPECT_EQ(c.data.task, (Tasks{{"qa1", 1}, {"qa19", 0.5}}));
  EXPECT_EQ(c.data.tasks(), (std::vector<std::string>{"qa1", "qa19"}));
  EXPECT_NE(config_yaml(small()).find("  task: qa1\n"), std::string::npos);
  EXPECT_NE(config_yaml(small({"data.task=[qa3, qa8]", kNoQuestions})).find("  task: [qa3, qa8]\n"), std::string::npos);
  EXPECT_EQ(parse_config(config_yaml(c), "again").data.task, c.data.task);

  expect_refused("data.task=[]", "data.task: is empty, expected qa1 to qa20");
  expect_refused("data.task={}", "data.task: is empty, expected qa1 to qa20");
  expect_refused("data.task=[qa1, qa0]", "data.task: is 'qa0', expected qa1 to qa20");
  expect_refused("data.task=[qa1, qa2, qa1]", "data.task: has qa1 twice, expected a weight: {qa1: 2}");
  expect_refused("data.task={qa1: 1, qa2: 0}", "data.task.qa2: is '0', expected a weight above 0");
  expect_refused("data.task={qa1: 1, qa2: much}", "data.task.qa2: is 'much', expected a weight above 0");
  expect_refused("data.task=[[qa1]]", "data.task.0: is a list, expected text");
}

TEST(Config, EveryValueSurvivesWritingAndReading) {
  const Config c = small({"run.dtype=bf16", "train.stages.1.vary_n_segments=true", "model.rope_scaling.type=llama3",
                          "model.rope_scaling.factor=8", "train.optimizer.eps=1.2345678901234567e-9", "run.dir='a: b'",
                          "eval.lengths=[0k, 4x]", "eval.tasks=qa2", "train.wave_schedule=streaming",
                          "model.armt.segment_alignment=center", "seed.data=9223372036854775807"});
  const std::string text = config_yaml(c);
  const Config again = parse_config(text, "again");
  EXPECT_EQ(config_yaml(again), text);
  EXPECT_TRUE(again.model == c.model);
  EXPECT_EQ(again.run.dir, "a: b");
  EXPECT_EQ(again.seed.data, INT64_MAX);
  EXPECT_EQ(again.train.optimizer.eps, 1.2345678901234567e-9);
  EXPECT_EQ(again.eval.lengths, (std::vector<std::string>{"0k", "4x"}));
  EXPECT_EQ(again.train.stages[1].segments, (std::vector<std::int64_t>{1, 2, 4}));

  const Config plain = small({"model.armt=null", "train.stages.1.segments=1"});
  EXPECT_FALSE(plain.model.armt);
  EXPECT_EQ(config_yaml(parse_config(config_yaml(plain), "again")), config_yaml(plain));
}

TEST(Config, AModelFromAFolderHasNoSizesOfItsOwn) {
  const std::string text = "run: {dir: r}\nmodel: {from: models/x, dropout: 0.1}\ndata: {books: b, tokenizer: t}\n";
  const Config c = parse_config(text, "c.yaml");
  EXPECT_EQ(c.model_from, "models/x");
  EXPECT_FALSE(c.model.armt);
  EXPECT_EQ(config_yaml(parse_config(config_yaml(c), "again")), config_yaml(c));
  EXPECT_ERROR(
      parse_config(text, "c.yaml", {"model.hidden_size=3"}), UsageError,
      "command line: 'model.hidden_size=3': model.hidden_size: comes from the model.from folder; leave it out here");
}

TEST(Config, UnknownKeysNameTheNearestOrAll) {
  EXPECT_ERROR(parse_config("run: {dir: x}\nmodel:\n  hiden_size: 3\n", "c.yaml"), UsageError,
               "c.yaml:3: model.hiden_size: unknown key, did you mean hidden_size?");
  EXPECT_ERROR(parse_config("modle: {}\n", "c.yaml"), UsageError, "c.yaml:1: modle: unknown key, did you mean model?");
  expect_refused("train.stages.1.foo=1",
                 "'train.stages.1.foo=1': train.stages.1.foo: unknown key; known here: name, segments");
  expect_refused("train.optimizer.learning_rate=1", "train.optimizer.learning_rate: unknown key; known");
}

TEST(Config, UnknownKeysAreLookedForInTheWholeTree) {
  expect_refused("batch_size=8", "batch_size: unknown key, did you mean train.batch_size or train.stages.0.batch_size");
  expect_refused("train.lr=1", "train.lr: unknown key, did you mean train.optimizer.lr or train.stages.0.lr?");
  expect_refused("train.segment_size=1",
                 "train.segment_size: unknown key, did you mean model.armt.segment_size or model.rmt.segment_size or "
                 "model.segment_size?");
  expect_refused("optimizer.lr=1", "optimizer: unknown key, did you mean train.optimizer?");
  expect_refused("run.tokeniser=x", "run.tokeniser: unknown key, did you mean data.tokenizer?");
}

// What the file has is right but for the override.
TEST(Config, TheOverrideIsToBlame) {
  EXPECT_ERROR(small({"train.batch_size=8", "data.max_sentence_len=5"}), UsageError,
               "command line: 'data.max_sentence_len=5': with it, c.yaml:8: data.min_sentence_len: is 10, above");
  EXPECT_ERROR(small({"data.min_facts=5", "data.max_facts=3"}), UsageError, "data.min_facts: is 5, above max_facts 3");
  const std::string wrong = "run: {dir: x}\nmodel: {hidden_size: 64, num_layers: 1, num_heads: 5}\n";
  EXPECT_ERROR(parse_config(wrong + "data: {books: none, tokenizer: t}\n", "c.yaml", {"train.batch_size=8"}),
               UsageError, "c.yaml:2: model.hidden_size: is 64, not a multiple of num_heads 5");
}

TEST(Config, TextOfAnOverrideIsTakenAsTyped) {
  for (const std::string& dir :
       {std::string("runs/x #1"), std::string("a: b"), std::string("[a]"), std::string("{x}"), std::string("*y"),
        std::string("1e3"), std::string("it's"), std::string("#1"), std::string("a,b"), std::string("&z")}) {
    EXPECT_EQ(small({"run.dir=" + dir}).run.dir, dir);
    EXPECT_EQ(small({"data.tokenizer=" + dir}).data.tokenizer, dir);
    EXPECT_EQ(parse_config(config_yaml(small({"run.dir=" + dir})), "again").run.dir, dir);
  }
  EXPECT_EQ(small({"run.dir='a b'"}).run.dir, "a b") << "quotes around all of it are YAML's";
  EXPECT_EQ(small({"run.dir=\"x\\ty\""}).run.dir, "x\ty");
  EXPECT_EQ(small({"train.freeze=*.layers.0.*"}).train.freeze, (std::vector<std::string>{"*.layers.0.*"}));
}

TEST(Config, ListsOfAnOverrideTakeCommas) {
  EXPECT_EQ(small({"eval.lengths=0k,4x"}).eval.lengths, (std::vector<std::string>{"0k", "4x"}));
  EXPECT_EQ(small({"eval.lengths=0k, 4x"}).eval.lengths, (std::vector<std::string>{"0k", "4x"}));
  EXPECT_EQ(small({"train.stages.0.segments=1,2,4"}).train.stages[0].segments, (std::vector<std::int64_t>{1, 2, 4}));
  EXPECT_EQ(small({"data.task=qa1,qa2"}).data.tasks(), (std::vector<std::string>{"qa1", "qa2"}));
  expect_refused("train.stages.0.segments=1,x", "train.stages.0.segments: is 'x', expected a whole number");
  expect_refused("train.stages.0.segments=1,", "train.stages.0.segments: is '', expected a whole number");
}

TEST(Config, HomeIsExpandedInPaths) {
  const char* const home = std::getenv("HOME");
  const std::string before = home == nullptr ? "" : home;
  ASSERT_EQ(::setenv("HOME", "/home/someone", 1), 0);
  EXPECT_EQ(small({"run.dir=~/x"}).run.dir, "/home/someone/x");
  EXPECT_EQ(small({"data.books=~/b.h5", "data.babi=~/en"}).data.books, "/home/someone/b.h5");
  EXPECT_EQ(
      parse_config("run: {dir: ~/r}\nmodel: {from: ~/m}\ndata: {books: none, tokenizer: ~/t}\n", "c.yaml").model_from,
      "/home/someone/m");
  EXPECT_EQ(small({"run.dir=./~x"}).run.dir, "./~x");
  expect_refused("run.dir=~other/x", "run.dir: is '~other/x': only ~/ is expanded");
  ::unsetenv("HOME");
  expect_refused("run.dir=~/x", "run.dir: is '~/x', but HOME is not set");
  if (home != nullptr) ::setenv("HOME", before.c_str(), 1);
}

// A stage's inherited keys follow what they are inherited from, also when the written configuration is changed.
TEST(Config, AWrittenStageStillInherits) {
  const std::string text = config_yaml(small());
  const Config c = parse_config(text, "written.yaml", {"train.optimizer.lr=5e-4", "train.batch_size=9"});
  EXPECT_EQ(c.train.stages[0].lr, 5e-4);
  EXPECT_EQ(c.train.stages[0].batch_size, 9);
  EXPECT_EQ(c.train.stages[1].lr, 1e-4) << "this one has its own";
}

TEST(Config, MissingKeysNameTheirGroupsPlace) {
  EXPECT_ERROR(parse_config("", "c.yaml"), UsageError, "c.yaml:1: run.dir: missing, must be given");
  EXPECT_ERROR(parse_config("run: {dir: x}\nmodel:\n  num_layers: 2\n", "c.yaml"), UsageError,
               "c.yaml:2: model.hidden_size: missing, must be given");
  expect_refused("model.armt={d_mem: 3}", "'model.armt={d_mem: 3}': model.armt.segment_size: missing, must be given");
  expect_refused("train.stages=[{name: x}]",
                 "'train.stages=[{name: x}]': train.stages.0.steps: missing, must be given");
}

TEST(Config, WrongTypesAndRangesSayWhatIsAllowed) {
  expect_refused("model.hidden_size=x", "model.hidden_size: is 'x', expected a whole number from 1 to 1000000000");
  expect_refused("model.hidden_size=0", "model.hidden_size: is '0', expected a whole number from 1");
  expect_refused("model.hidden_size=1e12", "is '1e12', expected a whole number from 1 to 1000000000");
  expect_refused("model.hidden_size='64'", "is the text '64', expected a whole number");
  expect_refused("model.hidden_size=[64]", "is a list, expected a whole number");
  expect_refused("model.hidden_size=~", "is empty, expected a whole number");
  expect_refused("train.optimizer.lr=0", "train.optimizer.lr: is '0', expected a number above 0");
  expect_refused("train.optimizer.beta1=1", "is '1', expected a number from 0 to below 1");
  expect_refused("data.background_ratio=1.5", "expected a number from 0 to 1");
  expect_refused("data.ask_everyone=yes", "data.ask_everyone: is 'yes', expected true or false");
  expect_refused("run.device=gpu", "run.device: is 'gpu', expected auto or cpu or cuda");
  expect_refused("run.dtype=[f32]", "run.dtype: is a list, expected f32 or f64 or bf16");
  expect_refused("run.dir=null", "run.dir: is empty, expected text");
  expect_refused("train.stages=[{steps: 1}", "train.stages: a key must be plain text (or a bracket is open); expected");
  expect_refused("eval.lengths=[0k", "eval.lengths: a key must be plain text (or a bracket is open); expected a list");
  expect_refused("train.stages.1.segments=[1, x]", "train.stages.1.segments.1: is 'x', expected a whole number");
  expect_refused("train.stages=3", "train.stages: is '3', expected a list of groups");
  expect_refused("train.stages=[3]", "train.stages.0 is '3', expected a group of keys");
  expect_refused("model=[1]", "model is a list, expected a group of keys");
  EXPECT_ERROR(parse_config("[1]", "c.yaml"), UsageError, "c.yaml:1: the file is a list, expected a group of keys");
}

TEST(Config, ContradictionsNameKeyAndPlace) {
  EXPECT_ERROR(small({"model.num_heads=5"}), UsageError,
               "command line: 'model.num_heads=5': with it, c.yaml:4: model.hidden_size: is 64, not a multiple of "
               "num_heads 5");
  expect_refused("model.num_kv_heads=3",
                 "command line: 'model.num_kv_heads=3': model.num_kv_heads: is 3, expected a divisor of num_heads 4");
  expect_refused("model.head_dim=5", "model.head_dim: is 5, expected an even number");
  expect_refused("model.armt.nu=16", "model.armt.nu: is 16, expected below 2 d_mem = 16");
  expect_refused("model.armt=null", "c.yaml:18: train.stages.1.segments: a model without model.armt, model.rmt");
  expect_refused("model.rope_scaling={type: llama3, low_freq_factor: 4}",
                 "model.rope_scaling.low_freq_factor: is 4, expected below high_freq_factor 4");
  expect_refused("data.task=qa21", "data.task: is 'qa21', expected qa1 to qa20");
  expect_refused("data.task=qa01", "data.task: is 'qa01', expected qa1 to qa20");
  expect_refused("data.task=q", "data.task: is 'q', expected qa1 to qa20");
  expect_refused("data.task=qaxx", "data.task: is 'qaxx', expected qa1 to qa20");
  expect_refused("data.task_start_pct=1", "data.task_start_pct: is 1, expected below task_end_pct 1");
  expect_refused("data.max_sentence_len=5", "c.yaml:8: data.min_sentence_len: is 10, above max_sentence_len 5");
  expect_refused("data={books: x, tokenizer: t, min_facts: 5, max_facts: 3}",
                 "data.min_facts: is 5, above max_facts 3");
  expect_refused("train.stages.0={steps: 1, min_facts: 3, max_facts: 2}", "train.stages.0.min_facts: is 3, above");
  expect_refused("train.stages.0={steps: 1, task_end_pct: 0}",
                 "train.stages.0.task_start_pct: is 0, expected below task_end_pct 0");
  expect_refused("train.stages.0.segments=[]", "train.stages.0.segments: is an empty list");
  expect_refused("train.stages.0.warmup=2.5",
                 "train.stages.0.warmup: is 2.5, expected whole steps, or a share below 1");
  expect_refused("train.stages.0.warmup=101", "train.stages.0.warmup: is 101, more than the stage's 100 steps");
  expect_refused("train.stages.0.stop_at=1.1", "train.stages.0.stop_at: is 1.1, but an exact match is at most 1");
  expect_refused("eval.tasks=[qa1, qa]", "eval.tasks.1: is 'qa', expected qa1 to qa20");
  expect_refused("eval.lengths=[4k, 4y]",
                 "eval.lengths.1: is '4y', expected tokens (0k, 4k, 1M, 5000), pairs (50p) or a multiple");
  for (const char* key : {"run.dir", "data.babi", "data.books", "data.tokenizer"}) {
    expect_refused(std::string(key) + "=", cat("command line: '", key, "=': ", key, ": is empty"));
  }
  EXPECT_ERROR(small({"data.books=none", "eval.lengths=[0k, 2x]"}), UsageError,
               "eval.lengths.1: is '2x', but data.books is none: only 0k needs no background");
  EXPECT_ERROR(small({"data.books=none", "train.stages.0.background_ratio=0.5"}), UsageError,
               "train.stages.0.background_ratio: is 0.5, but data.books is none");
  EXPECT_ERROR(small({"model.armt=null", "train.stages.1.segments=1", "train.k2=2"}), UsageError,
               "train.k2: cuts the gradient through memory, but neither model.armt nor model.rmt is there");
}

TEST(Config, Gpt2HasItsOwnContradictions) {
  const auto refused = [](const std::string& override, const std::string& message) {
    EXPECT_ERROR(small({"model.type=gpt2", override}), UsageError, message);
  };
  EXPECT_EQ(small({"model.type=gpt2"}).model.family, "gpt2");
  refused("model.num_kv_heads=2", "model.num_kv_heads: is 2, but gpt2 has as many as num_heads");
  refused("model.head_dim=8", "model.head_dim: is 8, but gpt2's is hidden_size / num_heads");
  refused("model.num_heads=5", "model.hidden_size: is 64, not a multiple of num_heads 5");
  refused("model.rope_scaling.type=linear", "model.rope_scaling.type: gpt2 has no rotary positions");
  refused("model.max_positions=16", "model.armt.segment_size: is 32, above gpt2's max_positions 16");
}

TEST(Config, EvalLengths) {
  EXPECT_EQ(parse_eval_length("0k").amount, 0);
  EXPECT_EQ(parse_eval_length("4k").amount, 4000);
  EXPECT_EQ(parse_eval_length("10M").amount, 10'000'000);
  EXPECT_EQ(parse_eval_length("777").amount, 777);
  EXPECT_FALSE(parse_eval_length("777").is_multiple);
  EXPECT_EQ(parse_eval_length("16x").amount, 16);
  EXPECT_TRUE(parse_eval_length("16x").is_multiple);
  for (const char* text : {"", "k", "0x", "x", "4kx", "4kk", "-1k", "4 k", "9999999999k"}) {
    EXPECT_ERROR(parse_eval_length(text), UsageError,
                 "expected tokens (0k, 4k, 1M, 5000), pairs (50p) or a multiple (4x)");
  }
}

TEST(Config, ShippedConfigsLoadAndReadBackEqual) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WAVETAPE_SOURCE_DIR) + "/configs")) {
    const Config c = load_config(entry.path().string());
    EXPECT_EQ(config_yaml(parse_config(config_yaml(c), "again")), config_yaml(c)) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 1);
}

TEST(Config, TheReferenceNamesEveryKeyAndIsYaml) {
  const std::string reference = config_reference();
  const YamlNode root = parse_yaml(reference, "reference");
  EXPECT_NE(root.find("model")->find("armt")->find("d_mem"), nullptr);
  EXPECT_EQ(root.find("train")->find("batch_size")->text, "32");
  EXPECT_NE(root.find("train")->find("stages")->items.at(0).find("steps"), nullptr);
  EXPECT_NE(reference.find("# Optimizer steps at most (whole number from 1 to 1000000000; must be given)"),
            std::string::npos);
  // Every key of a written configuration stands in the reference.
  const std::string written = config_yaml(small());
  std::size_t start = 0;
  while (start < written.size()) {
    const std::size_t end = written.find('\n', start);
    const std::string line = written.substr(start, end - start);
    const std::size_t first = line.find_first_not_of(" -");
    const std::string key = line.substr(first, line.find(':') - first) + ":";
    EXPECT_NE(reference.find(key), std::string::npos) << key;
    start = end + 1;
  }
}

TEST(Config, PlacesServeLaterChecks) {
  const Config c = small({"data.babi=DIR"});
  EXPECT_EQ(c.places.of("data.babi"), "command line: 'data.babi=DIR'");
  EXPECT_EQ(c.places.of("data.task"), "c.yaml:8");
  EXPECT_EQ(c.places.of("eval.samples"), "c.yaml:1");
  EXPECT_EQ(Places{}.of("a.b"), "config");
  EXPECT_ERROR(c.places.fail("data.books", "no such file"), UsageError, "c.yaml:9: data.books: no such file");
}

// Words_like_this in what the samples' and the curriculum's code says are keys that can be set.
TEST(Config, MessagesNameKeysThatThereAre) {
  const std::regex literal("\"((?:[^\"\\\\]|\\\\.)*)\""), word("[a-z][a-z0-9]*(?:_[a-z0-9]+)+");
  const std::string reference = config_reference();
  std::set<std::string> keys;
  for (std::sregex_iterator key(reference.begin(), reference.end(), word), end; key != end; ++key) {
    keys.insert(key->str());
  }
  // HDF5 datasets, keys and names of models' files.
  const std::set<std::string> of_files{"book_names", "prompt_offsets", "eos_token", "eos_token_id", "tokenizer_config"};
  const std::set<std::string> of_code{"validation_share"};  // no user can set it
  namespace fs = std::filesystem;
  std::set<std::string> files{"train/run/curriculum.cpp",  "train/run/trainer.cpp",   "train/run/trainer_steps.cpp",
                              "train/config_checks.cpp",   "train/run/run_setup.cpp", "train/run/run_model.cpp",
                              "train/run/task_mixture.cpp"};
  for (const auto& entry : fs::directory_iterator(WAVETAPE_SOURCE_DIR "/data")) {
    const std::string name = entry.path().filename().string();
    for (const char* start : {"associative", "babilong", "book", "eval_set", "inline", "story"}) {
      if (name.starts_with(start) && name.ends_with(".cpp")) files.insert("data/" + name);
    }
  }
  EXPECT_GT(files.size(), 10u);
  int seen = 0;
  for (const std::string& file : files) {
    std::istringstream lines(read_file(WAVETAPE_SOURCE_DIR "/" + file));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("#include")) continue;
      for (std::sregex_iterator text(line.begin(), line.end(), literal), end; text != end; ++text) {
        const std::string message = (*text)[1];
        if (message.find(' ') == std::string::npos) continue;  // a name, not a message
        for (std::sregex_iterator found(message.begin(), message.end(), word); found != end; ++found) {
          const std::string name = found->str();
          if (of_files.contains(name) || of_code.contains(name) || message.find("<|" + name) != std::string::npos)
            continue;
          EXPECT_TRUE(keys.contains(name)) << file << ": " << message;
          ++seen;
        }
      }
    }
  }
  EXPECT_GT(seen, 20);
}

}  // namespace
}  // namespace wt
