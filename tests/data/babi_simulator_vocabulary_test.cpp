// What the simulator may say, word by word: exactly the words of the published files (en-10k, train and test).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "data/babi/simulator.h"
#include "tests/data/babi_solver.h"

namespace wt {
namespace {

using test::words_of;

const std::string kMoves = "went back journeyed travelled moved to the ";
const std::string kHouse = "bathroom bedroom garden hallway kitchen office ";
const std::string kTown = "bedroom cinema kitchen office park school ";
const std::string kActors = "Mary John Daniel Sandra ";
const std::string kHandling = "got took grabbed picked up dropped left discarded put down there apple football milk ";
const std::string kContinuations = "Afterwards Then After Following that ";

struct Vocabulary {
  std::string words;
  std::string answers;
};

// Of qa1 ... qa20.
const std::array<Vocabulary, 20> kVocabularies{{
    {kMoves + kHouse + kActors + "Where is", kHouse},
    {kMoves + kHouse + kActors + kHandling + "Where is", kHouse},
    {kMoves + kHouse + kActors + kHandling + "Where was before", kHouse},
    {kHouse + "The What is the of north south east west", kHouse},
    {kMoves + kHouse + kHandling + "Mary Bill Fred Jeff What Who did gave give handed passed received",
     "Mary Bill Fred Jeff apple football milk"},
    {kMoves + kHouse + kActors + kHandling + "Is in", "yes no"},
    {kMoves + kHouse + kActors + kHandling + "gave passed handed How many objects is carrying", "none one two three"},
    {kMoves + kHouse + kActors + kHandling + "What is carrying", "nothing apple football milk"},
    {kMoves + kHouse + kActors + "Is in is no longer not", "yes no"},
    {kMoves + kTown + "Mary Bill Fred Julie Is in is either or", "yes no maybe"},
    {kMoves + kHouse + kActors + kContinuations + "Where is he she", kHouse},
    {kMoves + kHouse + kActors + "Where is and", kHouse},
    {kMoves + kHouse + kActors + kContinuations + "Where is and they", kHouse},
    {kMoves + kTown + "Mary Bill Fred Julie Where was before Yesterday yesterday This this morning afternoon evening",
     kTown},
    {"Mice Wolves Cats Sheep mice wolves cats sheep mouse wolf cat are afraid of a is What Gertrude Winona Jessica "
     "Emily gertrude winona jessica emily",
     "mouse wolf cat sheep"},
    {"Lily Bernhard Greg Julius Brian is a swan lion frog rhino gray white yellow green What color",
     "gray white yellow green"},
    {"The Is the is triangle pink rectangle blue square red yellow sphere above below to left right of", "yes no"},
    {"The the chocolate box of chocolates chest suitcase container fits inside is bigger than Does fit in Is",
     "yes no"},
    {kHouse + "The the is north south east west of How do you go from to", "n s e w"},
    {kMoves + "got took grabbed picked up there apple football milk pajamas kitchen garden bedroom Antoine Sumit Jason "
              "Yann antoine sumit jason yann is tired hungry bored thirsty Where will go Why did get",
     "kitchen garden bedroom tired hungry bored thirsty"},
}};

std::set<std::string> set_of(const std::string& text) {
  const std::vector<std::string> words = words_of(text);
  return {words.begin(), words.end()};
}

TEST(SimulatorVocabulary, IsThatOfThePublishedFiles) {
  std::set<std::string> all;
  for (std::size_t task = 0; task < kVocabularies.size(); ++task) {
    const std::string name = cat("qa", task + 1);
    std::set<std::string> words, answers;
    for (const BabiStory& story : simulate_stories(name, 23, 1500)) {
      for (const BabiLine& line : story.lines) {
        const std::set<std::string> more = set_of(line.text);
        words.insert(more.begin(), more.end());
        // Lists have commas without blanks.
        std::string answer = line.answer;
        std::replace(answer.begin(), answer.end(), ',', ' ');
        const std::set<std::string> parts = set_of(answer);
        answers.insert(parts.begin(), parts.end());
      }
    }
    EXPECT_EQ(words, set_of(kVocabularies[task].words)) << name;
    EXPECT_EQ(answers, set_of(kVocabularies[task].answers)) << name;
    for (const std::string& word : words) all.insert(test::lower(word));
  }
  EXPECT_EQ(all.size(), 145u);
}

// The published files keep a blank behind the question mark in some tasks.
TEST(SimulatorVocabulary, SentencesEndAsInThePublishedFiles) {
  for (int task = 1; task <= 20; ++task) {
    const bool has_blank = task != 4 && task < 15;
    for (const BabiStory& story : simulate_stories(cat("qa", task), 23, 200)) {
      for (const BabiLine& line : story.lines) {
        EXPECT_TRUE(line.text.ends_with(!line.is_question() ? "." : has_blank ? "? " : "?")) << line.text;
        EXPECT_EQ(line.text.find("  "), std::string::npos) << line.text;
      }
    }
  }
}

}  // namespace
}  // namespace wt
