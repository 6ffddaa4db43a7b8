#include "train/run/curriculum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/files.h"
#include "data/books.h"
#include "data/inline_questions.h"
#include "tests/support/books.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"
#include "train/eval/evaluate.h"

namespace wt {
namespace {

Config mixture(const std::vector<std::string>& overrides) {
  return parse_config(
      cat("run: {dir: unused}\n", "model:\n  hidden_size: 16\n  num_layers: 1\n  num_heads: 2\n",
          "  armt: {segment_size: 256, num_mem_tokens: 2, d_mem: 4}\n",
          "data:\n  task: {qa1: 1, qa15: 2, qa19: 1}\n  books: none\n", "  tokenizer: ", WAVETAPE_SOURCE_DIR,
          "/data/tokenizer/tokenizer.json\n", "train:\n  batch_size: 10\n  validation_samples: 400\n  stages:\n",
          "    - {segments: [1, 2], steps: 100}\n    - {segments: 2, steps: 50}\n"),
      "c.yaml", overrides);
}

// The curriculum keeps a reference to its configuration.
struct Built {
  explicit Built(const std::vector<std::string>& overrides = {}) : config(mixture(overrides)) {}
  Config config;
  Tokenizer tokenizer = Tokenizer::load(config.data.tokenizer);
  Curriculum curriculum{config, config.model, tokenizer, nullptr};

  // Told by its facts: only qa19 has paths, only qa15 fears.
  std::string task_of(const std::vector<std::int32_t>& tokens) const {
    const std::string text = tokenizer.decode(tokens);
    return text.find("How do you go from") != std::string::npos ? "qa19"
           : text.find(" afraid of ") != std::string::npos      ? "qa15"
                                                                : "qa1";
  }
};

TEST(Curriculum, AStageHasAValidationOfItsOwn) {
  const Built built(
      {"train.validation_tokens=5200", "train.stages.1.validation_samples=15", "train.stages.1.validation_tokens=0"});
  EXPECT_EQ(built.curriculum.num_validation_samples(0), 10) << "of two segments of 256 tokens each";
  EXPECT_EQ(built.curriculum.validation_batch(0, 0).sequences.size(), 10u);
  EXPECT_TRUE(built.curriculum.validation_batch(0, 1).sequences.empty());
  EXPECT_EQ(built.curriculum.num_validation_samples(1), 15);
  EXPECT_EQ(built.curriculum.validation_batch(1, 1).sequences.size(), 5u);
  EXPECT_EQ(Built({"train.validation_tokens=10"}).curriculum.num_validation_samples(0), 1);
}

TEST(Curriculum, TasksAreDrawnByWeightForEverySample) {
  const Built built;
  std::map<std::string, int> counts;
  bool is_mixed = false;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const TokenBatch batch = built.curriculum.train_batch(0, i);
    std::set<std::string> tasks;
    for (const auto& tokens : batch.sequences) {
      tasks.insert(built.task_of(tokens));
      ++counts[built.task_of(tokens)];
    }
    is_mixed |= tasks.size() == 3;
  }
  EXPECT_TRUE(is_mixed);
  // 1,000 draws: four standard deviations are 63 of a half, 55 of a quarter.
  EXPECT_NEAR(counts["qa15"], 500, 63);
  EXPECT_NEAR(counts["qa1"], 250, 55);
  EXPECT_NEAR(counts["qa19"], 250, 55);

  std::map<std::string, int> validation;
  for (std::int64_t i = 0; i < 40; ++i) {
    for (const auto& tokens : built.curriculum.validation_batch(1, i).sequences) ++validation[built.task_of(tokens)];
  }
  EXPECT_NEAR(validation["qa15"], 200, 40);
  EXPECT_NEAR(validation["qa1"], 100, 35);
  EXPECT_NEAR(validation["qa19"], 100, 35);
  EXPECT_TRUE(built.curriculum.validation_batch(1, 40).sequences.empty());
}

// bAbI's files of a task: stories of one fact and, every fourth, of two, each with an answer of its own.
void put_stories(const TempFolder& folder, const std::string& task, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const bool two = i % 4 == 3;
    if (two) text += "1 John went to the garden.\n";
    text += cat(two ? 2 : 1, " Mary went to ", task, "room", i, ".\n");
    text += cat(two ? 3 : 2, " Where is Mary? \t", task, "room", i, "\t", two ? 2 : 1, "\n");
  }
  write_file(folder / cat(task, "_x_train.txt"), text);
}

TEST(Curriculum, EverySampleOfAFileIsShownBeforeOneComesAgain) {
  const TempFolder folder;
  put_stories(folder, "qa1", 50);  // less a tenth for validation
  put_stories(folder, "qa2", 80);
  put_stories(folder, "qa4", 30);
  const Built built({cat("data.babi=", folder.path()), "data.task={qa1: 1, qa2: 1.5, qa4: 0.2}",
                     "train.stages=[{segments: [1, 2], steps: 37}, {segments: 2, steps: 41}, {segments: 1, steps: 33, "
                     "max_facts: 1}, {segments: 1, steps: 60}]"});
  // The answers of a stage's samples of each task, in order.
  const auto shown = [&](std::size_t stage, std::map<std::string, std::vector<std::string>>& of_task) {
    const auto batches = static_cast<std::uint64_t>(built.config.train.stages[stage].steps);
    for (std::uint64_t i = 0; i < batches; ++i) {
      for (const auto& tokens : built.curriculum.train_batch(stage, i).sequences) {
        const std::string text = built.tokenizer.decode(tokens);
        const std::string answer = text.substr(text.find("<|gen|> ") + 8);
        of_task[answer.substr(0, 3)].push_back(answer.substr(0, answer.find('<')));
      }
    }
  };
  const auto expect_epochs = [](std::map<std::string, std::vector<std::string>>& of_task,
                                const std::map<std::string, std::size_t>& sizes) {
    for (const auto& [task, size] : sizes) {
      const std::vector<std::string>& answers = of_task[task];
      ASSERT_GE(answers.size(), size) << task;
      for (std::size_t begin = 0; begin < answers.size(); begin += size) {
        const std::size_t end = std::min(begin + size, answers.size());
        EXPECT_EQ(std::set<std::string>(&answers[begin], &answers[0] + end).size(), end - begin) << task << begin;
      }
    }
  };
  std::map<std::string, std::vector<std::string>> first, third, fourth;
  shown(0, first);
  shown(1, first);  // the same samples: it goes on in the epoch
  expect_epochs(first, {{"qa1", 45}, {"qa2", 72}, {"qa4", 27}});
  shown(2, third);  // some of them: an epoch of its own
  expect_epochs(third, {{"qa1", 34}, {"qa2", 54}, {"qa4", 21}});
  shown(3, fourth);
  expect_epochs(fourth, {{"qa1", 45}, {"qa2", 72}, {"qa4", 27}});
  std::set<std::string> validation;
  for (const auto& tokens : built.curriculum.validation_batch(0, 0).sequences) {
    validation.insert(built.tokenizer.decode(tokens));
  }
  EXPECT_EQ(validation.size(), 10u);  // of 16
}

TEST(Curriculum, StagesThatHardlyAnyStoryFitsAreNamedOrRefused) {
  const Built built({"data.task={qa1: 1, qa3: 1}", "train.stages.0.max_facts=4"});
  ASSERT_EQ(built.curriculum.notices().size(), 2u);  // one for each number of segments
  EXPECT_TRUE(built.curriculum.notices()[0].starts_with("stage 1: only 0.")) << built.curriculum.notices()[0];
  EXPECT_TRUE(
      built.curriculum.notices()[0].ends_with(" % of qa3's samples have the facts asked for and fit into 1 segment"))
      << built.curriculum.notices()[0];
  EXPECT_TRUE(Built().curriculum.notices().empty());
  EXPECT_ERROR(Built({"data.task=qa3", "train.stages.1.max_facts=3"}), UsageError,
               "train.stages.1: none of 131072 simulated qa3 samples fits: at most 3 facts and at most 512 tokens are "
               "asked for, they have ");
  EXPECT_ERROR(Built({"model.armt.segment_size=4"}), UsageError,
               "change segments, min_facts or max_facts, or the model's segment_size");
}

TEST(Curriculum, AMixtureIsAFunctionOfSeedAndIndex) {
  const Built one, same, other({"seed.data=2"});
  // In any order, as after a resume.
  for (const std::uint64_t i : {7u, 3u, 49u}) {
    const TokenBatch batch = one.curriculum.train_batch(1, i);
    EXPECT_EQ(batch.sequences, same.curriculum.train_batch(1, i).sequences);
    EXPECT_EQ(batch.targets, same.curriculum.train_batch(1, i).targets);
    EXPECT_NE(batch.sequences, other.curriculum.train_batch(1, i).sequences);
  }
}

TEST(Curriculum, AMixtureOfOneIsThatTask) {
  const Built one({"data.task=qa15"}), listed({"data.task=[qa15]"}), weighted({"data.task={qa15: 3}"});
  EXPECT_EQ(one.curriculum.train_batch(0, 5).sequences, listed.curriculum.train_batch(0, 5).sequences);
  EXPECT_EQ(one.curriculum.train_batch(0, 5).sequences, weighted.curriculum.train_batch(0, 5).sequences);
  EXPECT_EQ(one.curriculum.validation_batch(0, 2).sequences, weighted.curriculum.validation_batch(0, 2).sequences);
}

TEST(Curriculum, InlineQuestionsGoToTheTasksThatHaveThem) {
  const Built built({"data.inline_question_rate=1"});
  const std::string question = "Where is";
  std::map<std::string, std::set<std::size_t>> numbers;
  for (std::uint64_t i = 0; i < 20; ++i) {
    for (const auto& tokens : built.curriculum.train_batch(0, i).sequences) {
      const std::string text = built.tokenizer.decode(tokens);
      std::size_t count = 0;
      for (std::size_t at = text.find(question); at != std::string::npos; at = text.find(question, at + 1)) ++count;
      numbers[built.task_of(tokens)].insert(count);
    }
  }
  EXPECT_EQ(numbers["qa15"], std::set<std::size_t>{0});
  EXPECT_EQ(numbers["qa19"], std::set<std::size_t>{0});
  EXPECT_GE(*numbers["qa1"].begin(), 3u);  // two facts at least, each with its question, and the last one
  EXPECT_ERROR(Built({"data.inline_question_rate=1", "data.task=[qa15, qa19]"}), UsageError,
               "train.stages.0.inline_question_rate: is 1, but such questions have known answers in qa1 alone, and "
               "data.task has "
               "none of it: 0 here and in data.inline_question_rate");
  EXPECT_ERROR(Built({"data.ask_everyone=true", "data.task=qa2"}), UsageError,
               "train.stages.0.ask_everyone: is true, but such questions have known answers in qa1 alone");
}

TEST(Curriculum, AStagePlacesItsFacts) {
  const Config config =
      mixture({"data.task=qa1", "data.books=a.txt", "data.task_end_pct=0.5", "data.max_facts=6",
               "train.stages.0.task_end_pct=0.02", "train.stages.0.segments=8", "train.stages.1.segments=8"});
  const Tokenizer tokenizer = Tokenizer::load(config.data.tokenizer);
  test::BookBuilder books(tokenizer.vocab_size());
  books.begin_book("a book");
  for (int i = 0; i < 100; ++i) books.add_sentence(tokenizer.encode_plain(" the rain went on and on and on."));
  const Curriculum curriculum(config, config.model, tokenizer, books.build());
  // Where the last fact stands, as a share of the text.
  const auto last_fact = [&](const std::vector<std::int32_t>& tokens) {
    const std::string text = tokenizer.decode(tokens);
    const std::size_t question = text.rfind("Where is");
    EXPECT_NE(question, std::string::npos);
    std::size_t last = 0;
    for (const char* place : {"bathroom.", "bedroom.", "garden.", "hallway.", "kitchen.", "office."}) {
      const std::size_t at = text.rfind(place, question);
      if (at != std::string::npos) last = std::max(last, at);
    }
    EXPECT_GT(last, 0u) << text;
    return static_cast<double>(last) / static_cast<double>(text.size());
  };
  double latest = 0;
  for (std::uint64_t i = 0; i < 5; ++i) {
    for (const auto& tokens : curriculum.train_batch(0, i).sequences) {
      EXPECT_LT(last_fact(tokens), 0.15);  // six facts take a tenth
    }
    for (const auto& tokens : curriculum.train_batch(1, i).sequences) latest = std::max(latest, last_fact(tokens));
  }
  EXPECT_GT(latest, 0.3);  // as `data` says
  EXPECT_LT(latest, 0.55);
}

TEST(Curriculum, TheLongestAnswersFitIntoTheDefaultNumberOfTokens) {
  const Built built;
  for (const char* answer :
       {" apple,football,milk", " milk,football,apple", " football,milk,apple", " thirsty", " w,n"}) {
    // With end-of-text.
    EXPECT_LE(static_cast<std::int64_t>(built.tokenizer.encode_plain(answer).size()) + 1, EvalConfig{}.max_new_tokens)
        << answer;
    EXPECT_EQ(EvalOptions{}.max_new_tokens, EvalConfig{}.max_new_tokens);
  }
}

TEST(Curriculum, EveryTaskMakesSamples) {
  const Built built(
      {"data.task=[qa1, qa2, qa4, qa5, qa6, qa7, qa8, qa9, qa10, qa11, qa12, qa13, qa14, qa15, qa16, qa17, "
       "qa18, qa19, qa20]"});
  for (const std::string& task : babi_tasks()) {
    const BabilongSample sample =
        make_test_sampler(built.config.data, 1, built.tokenizer, -1, nullptr, task, "0k", 32, 1).sample(3);
    EXPECT_FALSE(sample.answer.empty()) << task;
    // The answer, lists included, comes back from the tokens that the loss is on.
    const std::vector<std::int32_t> answer(sample.tokens.begin() + sample.prompt_size, sample.tokens.end() - 1);
    EXPECT_EQ(built.tokenizer.decode(answer), " " + sample.answer) << task;
  }
  EXPECT_EQ(built.curriculum.train_batch(0, 0).sequences.size(), 10u);
}

}  // namespace
}  // namespace wt
