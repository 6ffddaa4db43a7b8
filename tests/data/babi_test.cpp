#include "data/babi/stories.h"
#include "data/inline_questions.h"
#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

const char* const kTwoStories =
    "1 John travelled to the hallway.\n"
    "2 Mary journeyed to the bathroom.\n"
    "3 Where is John? \thallway\t1\n"
    "4 Daniel went back to the bathroom.\n"
    "5 John moved to the bedroom.\n"
    "6 Where is Mary? \tbathroom\t2\n"
    "7 Is it odd?\tyes,no\t5 1 2\n"
    "1 Sandra went to the office.\n"
    "2 Where is Sandra? \toffice\t1\n";

TEST(Babi, ReadsStoriesAndMakesOneSampleAQuestion) {
  const std::vector<BabiStory> stories = parse_babi(kTwoStories, "two");
  ASSERT_EQ(stories.size(), 2u);
  EXPECT_EQ(stories[0].num_questions(), 3);
  const std::vector<BabiSample> samples{babi_sample(stories[0], 0), babi_sample(stories[0], 1),
                                        babi_sample(stories[0], 2), babi_sample(stories[1], 0)};
  EXPECT_EQ(samples[0].facts,
            (std::vector<std::string>{"John travelled to the hallway.", "Mary journeyed to the bathroom."}));
  EXPECT_EQ(samples[0].question, "Where is John? ");
  EXPECT_EQ(samples[0].answer, "hallway");
  EXPECT_EQ(samples[0].supporting, (std::vector<int>{0}));
  EXPECT_EQ(samples[1].facts.size(), 4u);
  // Line 5 is the fourth fact: questions do not count.
  EXPECT_EQ(samples[2].supporting, (std::vector<int>{3, 0, 1}));
  EXPECT_EQ(samples[3].facts, (std::vector<std::string>{"Sandra went to the office."}));
  EXPECT_ERROR(babi_sample(stories[1], 1), Error, "question 1 of a bAbI story with 1");
}

TEST(Babi, FilesComeBackByteForByte) {
  const std::vector<BabiStory> stories = parse_babi(kTwoStories, "two");
  EXPECT_EQ(format_babi(stories[0]) + format_babi(stories[1]), kTwoStories);
  const TempFolder folder;
  write_babi(folder / "out.txt", stories);
  EXPECT_EQ(test::slurp(folder / "out.txt"), kTwoStories);
  EXPECT_EQ(read_babi(folder / "out.txt"), stories);
  EXPECT_EQ(test::num_files(folder), 1u);
  std::string windows;
  for (const char c : std::string(kTwoStories)) windows += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_EQ(parse_babi(windows, "windows"), stories);
  EXPECT_ERROR(write_babi(folder / "no/such/folder.txt", stories), Error, "no/such/folder.txt");
}

TEST(Babi, MarkAtTheBeginningAndBlankLinesAtTheEndArePassedOver) {
  const std::vector<BabiStory> stories = parse_babi(kTwoStories, "two");
  EXPECT_EQ(parse_babi(cat("\xEF\xBB\xBF", kTwoStories), "mark"), stories);
  for (const char* end : {"\n", "\n\n\n", "\r\n\r\n", "  \n\t\n", " "}) {
    EXPECT_EQ(parse_babi(cat(kTwoStories, end), "blank"), stories) << end;
  }
  // The last line itself is read as it is.
  EXPECT_ERROR(parse_babi("1 Mary.\n2 Where?\tx\t1\t\n\n", "f.txt"), Error, "f.txt:2: supporting line number `1\t`");
  EXPECT_ERROR(parse_babi("\xEF\xBB\xBF\n\n", "f.txt"), Error, "f.txt: the file is empty");
}

TEST(Babi, MalformedLinesAreNamed) {
  const auto expect = [](const std::string& text, const std::string& what) {
    EXPECT_ERROR(parse_babi(text, "f.txt"), Error, what);
  };
  expect("", "f.txt: the file is empty");
  expect("\n", "f.txt: the file is empty");
  expect("Mary went to the office.\n", "f.txt:1: expected a line number");
  expect("1\n", "f.txt:1: expected a line number");
  expect("01 Mary.\n", "f.txt:1: expected a line number");
  expect("-1 Mary.\n", "f.txt:1: expected a line number");
  expect("99999999999999999999 Mary.\n", "f.txt:1: expected a line number");
  expect("2 Mary.\n", "f.txt:1: line number 2, expected 1");
  expect("1 Mary.\n3 John.\n", "f.txt:2: line number 3, expected 2 (or 1 for a new story)");
  expect("1 Mary.\n\n2 Where?\tx\t1\n", "f.txt:2: expected a line number");
  expect("1  \n", "f.txt:1: no sentence");
  expect("1 Mary.\n2 Where?\tx\n", "f.txt:2: a question needs an answer and supporting line numbers");
  expect("1 Mary.\n2 Where?\t\t1\n", "f.txt:2: a question without answer");
  expect("1 Mary.\n2 Where?\t \t1\n", "f.txt:2: a question without answer");
  expect("1 Mary.\n2 Where?\t   \t1\n", "f.txt:2: a question without answer");
  expect("1 Mary.\n2 Where?\tx\t\n", "f.txt:2: a question without supporting");
  expect("1 Mary.\n2 Where?\tx\t1  1\n", "f.txt:2: supporting line number ``");
  expect("1 Mary.\n2 Where?\tx\t1\t\n", "f.txt:2: supporting line number `1\t`");
  expect("1 Mary.\n2 Where?\tx\t2\n", "f.txt:2: supporting line 2 is no earlier fact");
  expect("1 Mary.\n2 Where?\tx\t1\n3 Where?\tx\t2\n", "f.txt:3: supporting line 2 is no earlier fact");
  expect("1 Mary.\n1 John.\n2 Where?\tx\t1\n", "f.txt:2: the story ends without a question");
  expect("1 Mary.\n2 Where?\tx\t1\n1 John.\n", "f.txt:3: the story ends without a question");
  EXPECT_ERROR(read_babi("/nonexistent/qa1.txt"), Error, "/nonexistent/qa1.txt");
}

TEST(Babi, FindsATasksFile) {
  const TempFolder folder;
  for (const char* name : {"qa1_single-supporting-fact_train.txt", "qa1_single-supporting-fact_test.txt",
                           "qa10_indefinite-knowledge_train.txt", "qa3_three-supporting-facts_train_partial.txt"}) {
    test::put(folder / name, "x");
  }
  EXPECT_EQ(find_babi_file(folder.path(), "qa1", "train"), folder / "qa1_single-supporting-fact_train.txt");
  EXPECT_EQ(find_babi_file(folder.path(), "qa1", "test"), folder / "qa1_single-supporting-fact_test.txt");
  EXPECT_EQ(find_babi_file(folder.path(), "qa3", "train"), folder / "qa3_three-supporting-facts_train_partial.txt");
  EXPECT_ERROR(find_babi_file(folder.path(), "qa3", "test"), Error, "no file qa3_*_test.txt");
  EXPECT_ERROR(find_babi_file(folder / "none", "qa1", "test"), Error, "none: cannot be listed");
  test::put(folder / "qa1_other_test.txt", "x");
  EXPECT_ERROR(find_babi_file(folder.path(), "qa1", "test"), Error, "both qa1_other_test.txt and qa1_single");
  for (const char* task : {"qa0", "qa21", "qa", "qa1x", "1", "qa01", ""}) {
    EXPECT_ERROR(babi_task_number(task), UsageError, "expected qa1 ... qa20");
  }
  EXPECT_EQ(babi_task_number("qa20"), 20);
}

TEST(InlineQuestions, FollowThePersons) {
  using Facts = std::vector<std::string>;
  EXPECT_TRUE(known_questions("qa1", {}).empty());
  const Facts facts{"Mary went back to the office.", "John moved to the garden.", "Mary journeyed to the hallway."};
  EXPECT_EQ(known_questions("qa1", facts),
            (std::vector<KnownQuestion>{{"Where is Mary? ", "hallway"}, {"Where is John? ", "garden"}}));
  EXPECT_ERROR(known_questions("qa2", facts), UsageError, "no rule that answers them for qa2");
  for (const char* fact : {"Mary got the milk there.", "Mary went to the office", "went to the office.",
                           "Mary and John went to the office.", "Mary went to the .", ""}) {
    EXPECT_ERROR(known_questions("qa1", Facts{fact}), Error, "cannot read the fact");
  }
}

}  // namespace
}  // namespace wt
