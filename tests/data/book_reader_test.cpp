#include "data/book_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "data/sentences.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

// The bytes in pieces of a size of the test's choice.
TextPieces cut_up(std::string bytes, std::size_t piece) {
  return [bytes = std::move(bytes), piece, at = std::size_t{0}]() mutable {
    const std::string next = bytes.substr(std::min(at, bytes.size()), piece);
    at += next.size();
    return next;
  };
}

std::vector<std::string> books_of(const std::string& bytes, std::size_t piece = 1 << 18) {
  BookReader reader(cut_up(bytes, piece), "b.txt");
  std::vector<std::string> books;
  for (BookBlock block; reader.next(block);) {
    if (block.begins_book) books.emplace_back();
    books.back() += block.text;
  }
  return books;
}

using Books = std::vector<std::string>;

std::string framed(const std::string& text) {
  return "The Project Gutenberg eBook\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n" + text +
         "*** END OF THE PROJECT GUTENBERG EBOOK X ***\n\nThe licence.\n";
}

TEST(BookReader, TextIsCleanedHoweverItIsCut) {
  const std::string bytes =
      "\xEF\xBB\xBFOne\r\ntwo\rthree\n"
      "\x93"
      "Ren\xe9\x94 \x97 Ren\xc3\xa9 \x81 \xe2\x80";
  for (const std::size_t piece : {1, 2, 3, 5, 1000}) {
    EXPECT_EQ(books_of(bytes, piece),
              (Books{"One\ntwo\nthree\n\u201cRen\u00e9\u201d \u2014 Ren\u00e9 \ufffd \u00e2\u20ac"}))
        << piece;
    EXPECT_EQ(books_of("\xEF\xBB\xBF", piece), Books{}) << piece;
    EXPECT_EQ(books_of("a\r", piece), Books{"a\n"}) << piece;
    EXPECT_ERROR(books_of(std::string("ab\0c", 4), piece), Error, "b.txt: byte 2 is NUL");
  }
}

TEST(BookReader, EveryFramedStretchIsABook) {
  for (const std::size_t piece : {1, 7, 100000}) {
    EXPECT_EQ(books_of(framed("First.\n") + framed("Second.\n") + framed("Third.\n"), piece),
              (Books{"First.\n", "Second.\n", "Third.\n"}))
        << piece;
    EXPECT_EQ(
        books_of("Licence\r\n*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***\r\nText.\r\n*** END OF THIS\r\nMore",
                 piece),
        Books{"Text.\n"});
    EXPECT_EQ(books_of("Said *** START OF nothing.", piece), Books{"Said *** START OF nothing."});
    EXPECT_EQ(books_of("Text.\n***END OF THE\nMore.\n", piece), Books{"Text.\n"});
    // A start without an end; an empty stretch; a byte order mark where files were put one behind the other.
    EXPECT_EQ(books_of("*** START OF A\nOne.\n*** START OF B\nTwo.\n*** END OF B\n\xEF\xBB\xBF***START OF C\nThree.\n",
                       piece),
              (Books{"One.\n", "Two.\n", "Three.\n"}));
    EXPECT_EQ(books_of(framed("\n \n") + framed("Second.\n"), piece), Books{"Second.\n"});
    EXPECT_EQ(books_of(framed("\n"), piece), Books{});
    EXPECT_EQ(books_of("Small print\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*\nText.\n", piece),
              Books{"Text.\n"});
  }
}

TEST(BookReader, ALongTextBeforeTheFirstFrameIsNoHeader) {
  std::string plain;
  while (plain.size() < 70000) plain += "It rained.\n";
  EXPECT_EQ(books_of(plain + framed("A text.\n")), (Books{plain + "The Project Gutenberg eBook\n\n", "A text.\n"}));
}

TEST(BookReader, BlocksGiveTheSentencesOfTheWhole) {
  std::string text;
  for (int i = 0; text.size() < 3000000; ++i) {
    text += cat("Sentence ", i, " of it.  And Mr. X\nsaid nothing.\n");
    if (i % 97 == 0) text += " \n";
    if (i % 1000 == 0) text += "CHAPTER IV\nIt went on.\n\n";
  }
  const std::vector<std::string> expected = split_sentences(text);
  for (const std::size_t piece : {10007, 1 << 18, 5000000}) {
    BookReader reader(cut_up(text, piece), "b.txt");
    std::vector<std::string> sentences;
    std::size_t blocks = 0;
    for (BookBlock block; reader.next(block); ++blocks) {
      EXPECT_EQ(block.begins_book, blocks == 0);
      EXPECT_LT(block.text.size(), 1u << 20);
      for (std::string& sentence : split_sentences(block.text)) sentences.push_back(std::move(sentence));
    }
    EXPECT_GT(blocks, 8u);
    EXPECT_EQ(sentences, expected) << piece;
  }
}

TEST(BookReader, AParagraphWithoutEndIsCutBehindSentencesAndWords) {
  std::string one_line;
  for (int i = 0; one_line.size() < 3500000; ++i) one_line += cat("Mr. Smith took step ", i, ". \"No!\" he cried. ");
  const std::vector<std::string> expected = split_sentences(one_line);
  for (const std::size_t piece : {65536, 5000000}) {
    std::vector<std::string> sentences;
    BookReader reader(cut_up(one_line, piece), "b.txt");
    for (BookBlock block; reader.next(block);) {
      EXPECT_LE(block.text.size(), 1u << 20);
      for (std::string& sentence : split_sentences(block.text)) sentences.push_back(std::move(sentence));
    }
    EXPECT_EQ(sentences, expected) << piece;
  }
  // Nothing is lost where there is no sentence, and no word either.
  std::string words, characters;
  while (words.size() < 2500000) words += "word ";
  while (characters.size() < 2500001) characters += "\u00e9";
  EXPECT_EQ(books_of(words), Books{words});
  EXPECT_EQ(books_of(characters), Books{characters});
}

}  // namespace
}  // namespace wt
