#include "core/text.h"

#include <gtest/gtest.h>

namespace wt {
namespace {

TEST(PrintableLine, LeavesTextAlone) {
  EXPECT_EQ(printable_line("a.yaml:3: lr is 7, expected below 1"), "a.yaml:3: lr is 7, expected below 1");
  EXPECT_EQ(printable_line("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x99\x82"), "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x99\x82");
  EXPECT_EQ(printable_line("\xf4\x8f\xbf\xbf\xee\x80\x80"), "\xf4\x8f\xbf\xbf\xee\x80\x80");
  EXPECT_EQ(printable_line(""), "");
}

TEST(PrintableLine, TakesOutWhatATerminalWouldObey) {
  EXPECT_EQ(printable_line("one\ntwo\n\n"), "one two");
  EXPECT_EQ(printable_line("key \x1b[31m\x07\r\x7f!"), "key  [31m   !");
  EXPECT_EQ(printable_line(std::string("a\0b", 3)), "a b");
  EXPECT_EQ(printable_line("\xc2\x9b"), " ") << "a control character of two bytes";
  // Lone bytes, overlong forms, surrogates, above U+10FFFF, cut at the end.
  EXPECT_EQ(printable_line("\xff\xfe"), "??");
  EXPECT_EQ(printable_line("\xc0\x80"), "??");
  EXPECT_EQ(printable_line("\xe0\x80\x80"), "???");
  EXPECT_EQ(printable_line("\xed\xa0\x80"), "???");
  EXPECT_EQ(printable_line("\xf4\x90\x80\x80"), "????");
  EXPECT_EQ(printable_line("\xf0\x8f\x80\x80"), "????");
  EXPECT_EQ(printable_line("x\xe2\x82"), "x??");
}

TEST(PrintableLine, OfALongOneBeginningAndEnd) {
  std::string text = "file: '";
  for (int i = 0; i < 30000; ++i) text += "\xe2\x82\xac";
  const std::string line = printable_line(text + "', expected one word");
  EXPECT_LT(line.size(), 1300u);
  EXPECT_TRUE(line.starts_with("file: '\xe2\x82\xac"));
  EXPECT_TRUE(line.ends_with("\xe2\x82\xac', expected one word"));
  EXPECT_NE(line.find("\xe2\x82\xac ... \xe2\x82\xac"), std::string::npos) << "whole characters only";
  EXPECT_EQ(printable_line(line), line);
}

TEST(Nearest, AWordOfAMillionLettersIsNearNothing) {
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), std::vector<std::string>(1000, "hidden_size")), "");
  EXPECT_EQ(nearest("hiden_size", {"intermediate_size", "hidden_size"}), "hidden_size");
}

TEST(EachLine, KnowsItsNumber) {
  const auto lines = [](std::string_view text) {
    std::vector<std::string> seen;
    each_line(text, [&](std::string_view line, std::int64_t number) {
      seen.push_back(std::to_string(number) + ":" + std::string(line));
    });
    return seen;
  };
  EXPECT_EQ(lines("a\n\n \t\r\n  b c \r\nd"), (std::vector<std::string>{"1:a", "4:b c", "5:d"}));
  EXPECT_EQ(lines("\n\na\n"), (std::vector<std::string>{"3:a"}));
  EXPECT_TRUE(lines("").empty());
  EXPECT_TRUE(lines("\n \n").empty());
}

}  // namespace
}  // namespace wt
