#include "data/babilong_metric.h"

#include "tests/support/expect_error.h"

namespace wt {
namespace {

bool right(std::string_view task, std::string_view target, std::string_view output, std::string_view question = "") {
  return babilong_correct(task, target, output, question);
}

TEST(BabilongMetric, OneLabelMustBeTheTarget) {
  EXPECT_TRUE(right("qa1", "office", "office"));
  EXPECT_TRUE(right("qa1", "office", "  The OFFICE"));
  EXPECT_TRUE(right("qa1", "office", "The most recent location of Mary is offices"));
  EXPECT_FALSE(right("qa1", "office", "garden"));
  EXPECT_FALSE(right("qa1", "office", "office or garden"));
  EXPECT_FALSE(right("qa1", "office", ""));
  EXPECT_FALSE(right("qa1", "cinema", "cinema")) << "no label of qa1";
  EXPECT_TRUE(right("qa14", "cinema", "cinema"));
  EXPECT_TRUE(right("qa5", "Mary", "mary"));
  EXPECT_TRUE(right("qa5", "Bill", "It was BILL"));
}

TEST(BabilongMetric, OnlyTheFirstSentenceCounts) {
  EXPECT_TRUE(right("qa1", "office", "In the office. Not in the garden."));
  EXPECT_FALSE(right("qa1", "office", ". office"));
  EXPECT_TRUE(right("qa1", "office", "office <context> garden"));
  EXPECT_TRUE(right("qa1", "office", "office <Example> garden"));
  EXPECT_FALSE(right("qa1", "office", "<example>office"));
  EXPECT_TRUE(right("qa1", "office", "office\nkitchenette") == false) << "a line break is no end";
  EXPECT_FALSE(right("qa1", "office", "office Question: garden")) << "lower-cased before it is cut";
}

TEST(BabilongMetric, LabelsOfTheQuestionAreLeftOut) {
  const char* question = "Where was the apple before the Kitchen? ";
  EXPECT_TRUE(right("qa3", "garden", "Before the kitchen the apple was in the garden.", question));
  EXPECT_FALSE(right("qa3", "kitchen", "kitchen", question));
  EXPECT_TRUE(right("qa4", "bedroom", "The garden is north of the bedroom", "What is the garden north of?"));
  EXPECT_FALSE(right("qa5", "Fred", "Fred gave the milk to Mary", "Who gave the milk?"));
  EXPECT_TRUE(right("qa5", "Fred", "Fred gave the milk to Mary", "Who gave the milk to Mary?"));
}

TEST(BabilongMetric, ListsNeedAllTheirPartsAndNoMore) {
  EXPECT_TRUE(right("qa8", "apple,milk", "milk and the apple"));
  EXPECT_TRUE(right("qa8", "milk,apple", "apple,milk"));
  EXPECT_FALSE(right("qa8", "apple,milk", "apple"));
  EXPECT_FALSE(right("qa8", "apple,milk", "apple,milk,football"));
  EXPECT_FALSE(right("qa8", "apple", "apple,milk"));
  EXPECT_FALSE(right("qa8", "apple,apple", "apple")) << "two parts, one label";
  EXPECT_FALSE(right("qa8", "apple,", "apple"));
  EXPECT_TRUE(right("qa8", "nothing", "Nothing."));
  EXPECT_TRUE(right("qa19", "n,w", "n,w")) << "three characters: one label";
  EXPECT_FALSE(right("qa19", "n,w", "n, w"));
  EXPECT_FALSE(right("qa19", "n,w", "n,w,s"));
}

TEST(BabilongMetric, LabelsInsideWordsCountToo) {
  EXPECT_FALSE(right("qa6", "yes", "yes, I know")) << "know holds no";
  EXPECT_TRUE(right("qa6", "no", "nobody"));
  EXPECT_TRUE(right("qa7", "one", "one"));
  EXPECT_FALSE(right("qa7", "none", "none")) << "none holds one";
  EXPECT_TRUE(right("qa10", "maybe", "maybe"));
}

TEST(BabilongMetric, EveryTaskHasItsLabels) {
  EXPECT_EQ(babilong_labels("qa1"), babilong_labels("qa13"));
  EXPECT_EQ(babilong_labels("qa14").size(), 6u);
  EXPECT_EQ(babilong_labels("qa19").size(), 12u);
  EXPECT_EQ(babilong_labels("qa20").size(), 7u);
  EXPECT_EQ(babilong_labels("qa18"), (std::vector<std::string>{"no", "yes"}));
  EXPECT_ERROR(babilong_labels("qa21"), UsageError, "qa21");
}

}  // namespace
}  // namespace wt
