// Sources of pieces: joined, trimmed and encoded they are what the whole would be.
#include "data/pieces.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "core/text.h"
#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using test::shipped_tokenizer;

// `text` in pieces of 1 to `longest` bytes.
TextPieces cut(const std::string& text, std::size_t longest, RandomStream& random) {
  std::vector<TextPieces> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto size = static_cast<std::size_t>(1 + random.below(longest));
    parts.push_back(once(text.substr(begin, size)));
    begin += size;
  }
  return joined(parts);
}

TEST(Pieces, TrimmedAreTheWholeTrimmed) {
  RandomStream random(1, random_stream(RandomPurpose::kTest, 6));
  const std::string letters = "ab \n\t  \r.";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    const auto size = static_cast<std::size_t>(random.below(14));
    while (text.size() < size) text += letters[static_cast<std::size_t>(random.below(letters.size()))];
    EXPECT_EQ(whole(trimmed_pieces(cut(text, 4, random))), trimmed(text)) << '"' << text << '"';
  }
}

TEST(Pieces, AnEmptyPartIsNoEnd) {
  EXPECT_EQ(whole(joined<std::string>(
                {once<std::string>(""), once<std::string>("a"), once<std::string>(""), once<std::string>("b")})),
            "ab");
  EXPECT_EQ(whole(joined<std::string>({})), "");
  const TextPieces text = once<std::string>("x");
  const TextPieces copy = text;
  EXPECT_EQ(text(), "x");
  EXPECT_EQ(copy(), "") << "copies share their place";
}

TEST(Pieces, EncodedAreTheIdsOfTheWhole) {
  RandomStream random(2, random_stream(RandomPurpose::kTest, 7));
  std::string text;
  while (text.size() < 3000000) text += cat(" Mary went to the office, ", random.below(1000), " times.\n<|gen|>");
  for (const bool plain : {true, false}) {
    const TextPieces cut_text = cut(text, 100000, random);
    const TokenPieces pieces = plain ? encoded_plain(shipped_tokenizer(), cut_text)
                                     : encoded(shipped_tokenizer(), {.add_special_tokens = true}, cut_text);
    std::vector<std::int32_t> ids;
    int count = 0;
    for (auto piece = pieces(); !piece.empty(); piece = pieces()) {
      ids.insert(ids.end(), piece.begin(), piece.end());
      ++count;
    }
    EXPECT_TRUE(ids == (plain ? shipped_tokenizer().encode_plain(text)
                              : shipped_tokenizer().encode(text, {.add_special_tokens = true})));
    EXPECT_GE(count, 3);
  }
  EXPECT_TRUE(whole(encoded(shipped_tokenizer(), {}, joined<std::string>({}))).empty());
}

TEST(Pieces, OfAFile) {
  const TempFolder folder;
  const std::string text(1000001, 'x');
  test::put(folder / "a.txt", text);
  EXPECT_TRUE(whole(file_pieces(folder / "a.txt")) == text);
  EXPECT_ERROR(file_pieces(folder / "b.txt"), Error, "cannot open");
  EXPECT_ERROR(whole(file_pieces(folder.path())), Error, "cannot read");
}

}  // namespace
}  // namespace wt
