#include "data/split_pattern.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Words = std::vector<std::string>;

Words pieces_of(const std::string& pattern, const std::string& text) {
  Words out;
  SplitPattern(pattern).split(text, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

// What Split(Regex(pattern), "isolated") of the tokenizers library (0.23.3) gives.
TEST(SplitPattern, ReadsPatternsAsOnigurumaDoes) {
  const struct {
    const char *pattern, *text;
    Words pieces;
  } cases[] = {
      {R"(\p{N}{1,3}+|\P{N}+)", "1234567 a", {"1234567", " a"}},
      {"a{2}?", "aaaa", {"aa", "aa"}},
      {"a{,2}", "aaaaab", {"aa", "aa", "a", "b"}},
      {"a{x", "aa{x", {"a", "a{x"}},
      {"a{1,2}{2}", "aaaaa", {"aaaa", "a"}},
      {"a*?+", "aab", {"a", "a", "b"}},
      {"^a|b$", "a\nab\nb", {"a", "\n", "a", "b", "\n", "b"}},
      {"(?m)a.b|c.d", "a\nbc\nd", {"a\nb", "c\nd"}},
      {"a.b", "a\nba-b", {"a\nb", "a-b"}},
      {R"(\h+)", "12fgz", {"12f", "gz"}},
      {R"(\v)", "a\vb\u2028", {"a", "\v", "b\u2028"}},
      {R"(\R)", "a\r\nb\u2028", {"a", "\r\n", "b", "\u2028"}},
      {R"(\Z)", "ab\n", {"ab", "\n"}},
      {R"(\b)", "n\u0301½²⅓", {"n\u0301½²", "⅓"}},
      {R"(\w+)", "n\u0301½²⅓_", {"n\u0301½²", "⅓", "_"}},
      {R"([\w]+)", "n\u0301½²⅓_", {"n\u0301", "½²⅓", "_"}},
      {R"(\d+)", "1٣½", {"1٣", "½"}},
      {R"(\s+)", "a\u00a0\u180e\u2003", {"a", "\u00a0", "\u180e", "\u2003"}},
      {R"(\p{Han}+)", "漢々、", {"漢々", "、"}},
      {R"(\p{^L}+|\p{letter})", "ab12", {"a", "b", "12"}},
      {"[a-z&&[^aeiou]]+", "abcde", {"a", "bcd", "e"}},
      {"[^a-z&&[^aeiou]]+", "abcde", {"a", "bcd", "e"}},
      {"[a[1-3]]+", "a14", {"a1", "4"}},
      {R"([^\S\n]+)", " \t\n ", {" \t", "\n", " "}},
      {"[]a]+", "a]b", {"a]", "b"}},
      {"[[:^alpha:]]+", "a1é", {"a", "1", "é"}},
      {"a(?i)b|c", "aBCac", {"aB", "C", "ac"}},
      {"(a(?i)b|c)d", "aBdaCdCd", {"aBd", "aCd", "Cd"}},
      {"(?i)[^ks]", "K\u212Akſt", {"K\u212Akſ", "t"}},
      {"(?<x>a)(?>b|bc)c", "abcabcc", {"abc", "abc", "c"}},
      {R"(\x41\u00e9\x{4e00})", "Aé一A", {"Aé一", "A"}},
      {"(?<=a|bc)x", "axbcxx", {"a", "x", "bc", "x", "x"}},
      {R"(a(?#b)c\-\ )", "ac- x", {"ac- ", "x"}},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(pieces_of(one.pattern, one.text), one.pieces) << one.pattern;
  }
}

TEST(SplitPattern, RefusesByNameWhatHasNoCounterpart) {
  const auto expect = [](const std::string& pattern, const std::string& what) {
    EXPECT_ERROR(SplitPattern(pattern, "t.json"), Error, cat("t.json: split pattern `", pattern, "`: ", what));
  };
  expect(R"(a\K)", R"(\K at byte 1 is not supported)");
  expect(R"((a)\1)", R"(\1 at byte 3)");
  for (const char* escape : {"\\X", "\\G", "\\y", "\\Q", "\\g<1>", "\\k<a>", "\\cA"}) {
    expect(escape, cat(std::string_view(escape).substr(0, 2), " at byte 0"));
  }
  expect("(?s)a", "(?s at byte 0");
  expect("(?x)a b", "(?x at byte 0");
  expect("(?~ab)", "(?~ at byte 0");
  expect("(*FAIL)", "(* at byte 0");
  expect("(?(1)a)", "(?( at byte 0");
  expect("a{3,1}", "{3,1} at byte 1");
  expect("^*", "a repeated assertion at byte 0");
  expect("(?=a)+", "a repeated assertion at byte 0");
  expect("*a", "the repeat * of nothing at byte 0");
  expect("(?i)é", "a character beyond ASCII under (?i) at byte 4");
  expect("(?i:a[s]|st)", "\"st\" under (?i) at byte 10");
  expect("(?i:s(?:S))", "\"ss\" under (?i)");
  expect(R"((?i)[\p{Lu}])", "a set with cases in [ ] under (?i)");
  expect(R"(\p{Foo})", R"(\p{Foo} at byte 0)");
  expect("[[:foo:]]", "[:foo:] at byte 1");
  expect(R"([\xE9])", R"(\xE9 at byte 1)");
  expect("[a", "a [ without its ]");
  expect("[z-a]", "the range z-a at byte 1");
  expect(R"([\d-a])", "a range from a set");
  expect("(?<=a+)b", "");  // the reason is PCRE2's own, in other words from 10.43 on
  expect(std::string(200, '(') + std::string(200, ')'), "more than 100 groups in each other");
}

TEST(SplitPattern, WordsOfAnyLengthAreOnePiece) {
  // The first takes some hundred bytes of stack a letter, more than the largest stack.
  const std::string pattern = R"((?:\p{L}\p{M}*)+|\s+)";
  for (const std::size_t length : {std::size_t{2000}, std::size_t{300'000}, std::size_t{1'500'000}}) {
    const Words pieces = pieces_of(pattern, std::string(length, 'a') + " b");
    ASSERT_EQ(pieces.size(), 3u) << length;
    EXPECT_EQ(pieces.front().size(), length);
  }
}

TEST(SplitPattern, TooManyStepsAreAnErrorAndNoOtherSplit) {
  EXPECT_ERROR(pieces_of("(?:a|a)+[bc]", std::string(40, 'a') + "d"), Error,
               "split pattern `(?:a|a)+[bc]`: match limit");
}

}  // namespace
}  // namespace wt
