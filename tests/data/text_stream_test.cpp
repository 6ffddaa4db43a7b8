// Streaming text: whole characters, stop strings; and texts encoded in pieces.
#include "data/text_stream.h"

#include <gtest/gtest.h>

#include "core/utf8.h"
#include "data/piece_encoder.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

const std::string kTokenizers = std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/tokenizers/";

Tokenizer ours() {
  return Tokenizer::load(std::string(WAVETAPE_SOURCE_DIR) + "/data/tokenizer/tokenizer.json");
}

TEST(TextStream, GivesWholeCharactersOnly) {
  const Tokenizer tokenizer = ours();
  const std::string text = "Zoë saw \xf0\x9f\x99\x82 and 東京.";
  TextStream stream(tokenizer, {});
  std::string all;
  bool waited = false;
  for (const std::int32_t id : tokenizer.encode(text)) {
    const std::string piece = stream.push(id);
    EXPECT_EQ(utf8_valid_until(piece, 0), piece.size());
    waited = waited || piece.empty();
    all += piece;
  }
  EXPECT_TRUE(waited) << "no token of this text ends inside a character";
  EXPECT_EQ(all + stream.finish(), text);
}

TEST(TextStream, ACharacterThatStaysCutIsReplaced) {
  const Tokenizer tokenizer = ours();
  TextStream stream(tokenizer, {});
  std::string all;
  for (const std::int32_t id : tokenizer.encode("a\xe6\x9d")) all += stream.push(id);
  EXPECT_EQ(all, "a");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(TextStream, IncompleteTails) {
  EXPECT_EQ(utf8_incomplete_tail(""), 0u);
  EXPECT_EQ(utf8_incomplete_tail("abc"), 0u);
  EXPECT_EQ(utf8_incomplete_tail("\xc3\xa9"), 0u);
  EXPECT_EQ(utf8_incomplete_tail("\xc3\xa9\xc3"), 1u);
  EXPECT_EQ(utf8_incomplete_tail("a\xf0\x9f\x99"), 3u);
  EXPECT_EQ(utf8_incomplete_tail("a\xe0"), 1u);
  EXPECT_EQ(utf8_incomplete_tail("a\xf4\x8f"), 2u);
  EXPECT_EQ(utf8_incomplete_tail("a\xc0"), 0u) << "begins no character";
  EXPECT_EQ(utf8_incomplete_tail("a\xed\xa0"), 0u) << "a surrogate";
  EXPECT_EQ(utf8_incomplete_tail("a\x80"), 0u);
}

TEST(TextStream, StopStringsAcrossTokens) {
  const Tokenizer tokenizer = ours();
  const auto run = [&](const std::string& text, const std::vector<std::string>& stops, bool& stopped) {
    TextStream stream(tokenizer, stops);
    std::string all;
    for (const std::int32_t id : tokenizer.encode(text)) {
      all += stream.push(id);
      for (const std::string& stop : stops) EXPECT_EQ(all.find(stop), std::string::npos);
    }
    stopped = stream.stopped();
    return all + stream.finish();
  };
  bool stopped = false;
  EXPECT_EQ(run("Mary is in the office.\nQuestion: where?", {"\nQuestion"}, stopped), "Mary is in the office.");
  EXPECT_TRUE(stopped);
  EXPECT_EQ(run("one two three", {"three", "two"}, stopped), "one ") << "the first in the text";
  EXPECT_TRUE(stopped);
  EXPECT_EQ(run("one two thre", {"three"}, stopped), "one two thre") << "what waited comes in the end";
  EXPECT_FALSE(stopped);
  EXPECT_EQ(run("aaab", {"aab"}, stopped), "a");
  EXPECT_TRUE(stopped);
}

TEST(TextStream, BadStopStrings) {
  EXPECT_ERROR(TextStream(ours(), {"a", ""}), UsageError, "a stop string is empty");
  EXPECT_ERROR(TextStream(ours(), {"\xff"}), UsageError, "a stop string is not UTF-8");
}

class Pieces : public testing::TestWithParam<const char*> {};

TEST_P(Pieces, AreTheWholeText) {
  const Tokenizer tokenizer = Tokenizer::load(kTokenizers + GetParam());
  std::string text;
  for (int i = 0; i < 900; ++i) {
    text += "  Mary's " + std::to_string(i * 7919) + " apples,\n\n\tand the office!  ";
    if (i % 3 == 0) text += "Zoë ran\r\n";
    if (i % 5 == 0) text += "<|endoftext|> ";
  }
  for (const bool special : {false, true}) {
    const EncodeOptions options{.match_added_tokens = true, .add_special_tokens = special};
    for (const std::size_t push : {std::size_t{1000}, std::size_t{37}, text.size()}) {
      std::vector<std::int32_t> ids;
      int calls = 0;
      PieceEncoder encoder(
          tokenizer, options,
          [&](const std::vector<std::int32_t>& some) {
            ids.insert(ids.end(), some.begin(), some.end());
            ++calls;
          },
          4096);
      for (std::size_t begin = 0; begin < text.size(); begin += push)
        encoder.push(std::string_view(text).substr(begin, push));
      encoder.finish();
      EXPECT_EQ(ids, tokenizer.encode(text, options));
      EXPECT_GT(calls, 5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Pieces, testing::Values("gpt2.json", "llama3.json", "smollm.json", "llama2.json"),
                         [](const testing::TestParamInfo<const char*>& given) {
                           return std::string(given.param, std::string(given.param).find('.'));
                         });

TEST(PieceEncoder, AWordWithoutEndIsCutBetweenCharacters) {
  const Tokenizer tokenizer = ours();
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "aab";
  std::vector<std::int32_t> ids;
  PieceEncoder encoder(
      tokenizer, {}, [&](const std::vector<std::int32_t>& some) { ids.insert(ids.end(), some.begin(), some.end()); },
      512);
  encoder.push(text);
  encoder.finish();
  EXPECT_EQ(tokenizer.decode(ids), text);
}

}  // namespace
}  // namespace wt
