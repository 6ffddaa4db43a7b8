#include "data/detokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/files.h"

namespace wt {
namespace {

// What sacremoses 0.2 makes of them (tests/bench/compare_detokenizer.py).
TEST(Detokenizer, DoesAsTheLibrary) {
  const auto cases =
      nlohmann::json::parse(read_file(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/detokenizer.json"));
  ASSERT_GT(cases.size(), 80u);
  for (const auto& one : cases) {
    EXPECT_EQ(detokenized(one["text"].get<std::string>()), one["expected"].get<std::string>()) << one["text"];
  }
}

TEST(Detokenizer, TheRulesByExample) {
  EXPECT_EQ(detokenized("It 's \" fine \" , is n't it ?"), "It's \"fine\", is n't it?");
  EXPECT_EQ(detokenized("The Jones ' house ( $ 5 &amp; more )"), "The Jones' house ($5 & more)");
  EXPECT_EQ(detokenized("well @-@ known \u4e16 \u754c"), "well-known \u4e16\u754c");
}

TEST(Detokenizer, OfNoWordsNothingIsLeft) {
  for (const char* text : {"", " ", "  \t \n", "\u00a0\u3000"}) EXPECT_EQ(detokenized(text), "");
}

TEST(Detokenizer, BytesThatAreNoTextStay) {
  EXPECT_EQ(detokenized("a \xff\xfe , \xe4\xb8"), "a \xff\xfe, \xe4\xb8");
  EXPECT_EQ(detokenized(std::string("a\0b .", 5)), std::string("a\0b.", 4));
}

}  // namespace
}  // namespace wt
