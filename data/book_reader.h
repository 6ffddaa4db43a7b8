// The books in a plain-text file, in blocks: a file need not fit in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "data/pieces.h"

namespace wt {

struct BookBlock {
  std::string text;  // never blank
  bool begins_book = false;
};

// Text is UTF-8 (a byte order mark at the beginning is dropped; bytes that are not UTF-8 are read as Windows-1252, the
// Latin-1 of old e-texts), line ends are made LF.
//
// Books: every stretch between Project Gutenberg's lines "*** START OF" (or "*END*THE SMALL PRINT", as e-texts before
// 2004 end their licence) and "*** END OF" is one; a start without an end before it begins a book too. What comes
// before the first such line is a header, and dropped, if it is at most 64 KiB, and else a book. Behind an end
// everything up to the next start is dropped. A file without a start is one book, up to its end.
//
// Blocks end where a paragraph does, so that split_sentences() of each gives what it would give of the whole; they have
// some 256 KiB. Only a paragraph longer than 1 MiB is cut inside: behind its last sentence, or, where it has none,
// between two words.
class BookReader {
 public:
  // `pieces`: the file's bytes; `name` stands for it in errors.
  BookReader(TextPieces pieces, std::string name);
  // The next block, false at the end. Throws Error for NUL bytes (no text), and what `pieces` throws.
  bool next(BookBlock& block);

 private:
  enum class Place : std::uint8_t { kHeader, kBook, kOutside };
  void clean(std::string_view bytes);
  void read_lines();
  void begin_book();
  void end_book();
  void cut(bool behind_blank_line);
  void put_out(std::size_t count);

  TextPieces pieces_;
  std::string name_;
  bool ended_ = false;          // no more bytes come
  std::string raw_;             // bytes not yet cleaned: the front of a character, a CR that LF may follow
  std::uint64_t cleaned_ = 0;   // bytes before those
  std::string lines_;           // clean text that may still turn out to be a line of the frame
  bool inside_line_ = false;    // lines_ begins inside a line
  bool dropping_line_ = false;  // which is one of the frame
  Place place_ = Place::kHeader;
  bool begins_book_ = true;
  std::string text_;  // of the book, waiting for the end of a paragraph
  std::deque<BookBlock> ready_;
};

}  // namespace wt
