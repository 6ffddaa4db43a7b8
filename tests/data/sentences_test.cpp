#include "data/sentences.h"

#include <gtest/gtest.h>

namespace wt {
namespace {

using Sentences = std::vector<std::string>;

TEST(Sentences, EndAtStopsBeforeWhatStartsAnew) {
  EXPECT_EQ(split_sentences("He came. She left! Who knows? Nobody."),
            (Sentences{"He came.", "She left!", "Who knows?", "Nobody."}));
  EXPECT_EQ(split_sentences("\"No!\" he cried. \"Never.\""), (Sentences{"\"No!\" he cried.", "\"Never.\""}));
  EXPECT_EQ(split_sentences("What?! I... well... yes. 3 men came."),
            (Sentences{"What?!", "I... well... yes.", "3 men came."}));
  EXPECT_EQ(split_sentences("He waited\u2026 and waited\u2026 Then he left."),
            (Sentences{"He waited\u2026 and waited\u2026", "Then he left."}));
  EXPECT_EQ(split_sentences("No stop at the end"), (Sentences{"No stop at the end"}));
}

TEST(Sentences, QuotesAndBracketsCloseBehindTheStop) {
  EXPECT_EQ(split_sentences("He said, \"Go.\" She went."), (Sentences{"He said, \"Go.\"", "She went."}));
  EXPECT_EQ(split_sentences("\u201cGo.\u201d \u201cI shall not.\u201d"),
            (Sentences{"\u201cGo.\u201d", "\u201cI shall not.\u201d"}));
  EXPECT_EQ(split_sentences("'Go.' (He went.) _Gone._ All."), (Sentences{"'Go.'", "(He went.)", "_Gone._", "All."}));
  EXPECT_EQ(split_sentences("Stop!--What is it?--Nothing."), (Sentences{"Stop!--What is it?--Nothing."}));
}

TEST(Sentences, AbbreviationsInitialsAndNumbersDoNotEnd) {
  EXPECT_EQ(split_sentences("Mr. Knightley met Mrs. Weston at St. Ives. Dr. Perry came."),
            (Sentences{"Mr. Knightley met Mrs. Weston at St. Ives.", "Dr. Perry came."}));
  EXPECT_EQ(split_sentences("By J. R. Smith. He paid 3.14 pounds, i.e. Nothing."),
            (Sentences{"By J. R. Smith.", "He paid 3.14 pounds, i.e. Nothing."}));
  EXPECT_EQ(split_sentences("See No. 7 there. I said no. 7 men heard."),
            (Sentences{"See No. 7 there.", "I said no. 7 men heard."}));
  EXPECT_EQ(split_sentences("I said no. He heard. It was I. She knew."),
            (Sentences{"I said no.", "He heard.", "It was I.", "She knew."}));
  EXPECT_EQ(split_sentences("(Mr. Bird) came. \u201cMrs. Bird!\u201d"),
            (Sentences{"(Mr. Bird) came.", "\u201cMrs. Bird!\u201d"}));
}

TEST(Sentences, LinesAreUnwrappedAndBlankLinesEndParagraphs) {
  EXPECT_EQ(split_sentences("It was\na dark  night.\r\nThe wind\tblew\n\nand blew. On.\n\n\n"),
            (Sentences{"It was a dark night.", "The wind blew", "and blew.", "On."}));
  EXPECT_TRUE(split_sentences("").empty());
  EXPECT_TRUE(split_sentences(" \n\t\n \r\n").empty());
}

TEST(Sentences, HeadingsStandAlone) {
  EXPECT_EQ(split_sentences("EMMA\n\nVOLUME I\nCHAPTER I\nEmma Woodhouse was\nhandsome. IV.\nII.\nThere."),
            (Sentences{"EMMA", "VOLUME I", "CHAPTER I", "Emma Woodhouse was handsome.", "IV.", "II.", "There."}));
  EXPECT_EQ(split_sentences("Chapter 12. The end\nHe ran."), (Sentences{"Chapter 12. The end", "He ran."}));
  // These words begin plain lines too.
  EXPECT_EQ(split_sentences("He read the\nletter which she\nbook I had.\nPart of it."),
            (Sentences{"He read the letter which she book I had.", "Part of it."}));
  EXPECT_EQ(split_sentences("It was\nI\nwho came."), (Sentences{"It was I who came."}));
}

TEST(Sentences, LoseNoCharacter) {
  const std::string text = "A\xff b. \"C d?\" E\n\nCHAPTER V\n... !? (x. Y.) \u2026\u201d Z";
  std::string all, joined;
  for (const char c : text) {
    if (c != ' ' && c != '\n') all += c;
  }
  for (const std::string& sentence : split_sentences(text)) {
    EXPECT_FALSE(sentence.empty());
    EXPECT_NE(sentence.front(), ' ');
    EXPECT_NE(sentence.back(), ' ');
    for (const char c : sentence) {
      if (c != ' ') joined += c;
    }
  }
  EXPECT_EQ(joined, all);
}

}  // namespace
}  // namespace wt
