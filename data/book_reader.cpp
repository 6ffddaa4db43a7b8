#include "data/book_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "data/sentences.h"
#include "data/text_stream.h"

namespace wt {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 18;             // bytes that are worth a block
constexpr std::size_t kLongestParagraph = std::size_t{1} << 20;  // a longer one is cut
constexpr std::size_t kLongestHeader = std::size_t{1} << 16;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

constexpr std::array<std::string_view, 4> kStarts{"*** START OF", "***START OF", "*END*THE SMALL PRINT",
                                                  "*END THE SMALL PRINT"};
constexpr std::array<std::string_view, 2> kEnds{"*** END OF", "***END OF"};
constexpr std::size_t kLongestMark = 24;  // of those, behind a byte order mark that joining files left

template <std::size_t N>
bool begins_with(std::string_view line, const std::array<std::string_view, N>& marks) {
  if (line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  return std::any_of(marks.begin(), marks.end(), [&](std::string_view mark) { return line.starts_with(mark); });
}

// Windows-1252 where it differs from Latin-1: 0x80 ... 0x9F. (0: no character.)
constexpr std::array<char32_t, 32> kWindows1252{0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                                0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

void append_windows1252(std::string& out, unsigned char byte) {
  char32_t character = byte;
  if (byte >= 0x80 && byte < 0xA0) character = kWindows1252[byte - 0x80u];
  append_utf8(out, character == 0 ? 0xFFFD : character);
}

// Behind the last blank line; 0 where there is none.
std::size_t last_paragraph_end(std::string_view text) {
  for (std::size_t end = text.rfind('\n'); end != std::string_view::npos;) {
    const std::size_t before = end == 0 ? std::string_view::npos : text.rfind('\n', end - 1);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    if (is_blank_text(text.substr(begin, end - begin))) return end + 1;
    end = before;
  }
  return 0;
}

// A cut inside a paragraph that has no other: behind a sentence, a word or at least a character.
std::size_t cut_inside(std::string_view text) {
  if (const std::size_t cut = last_sentence_cut(text); cut > 0) return cut;
  if (const std::size_t blank = text.find_last_of(" \t\n"); blank != std::string_view::npos) return blank + 1;
  return text.size() - utf8_incomplete_tail(text);
}

}  // namespace

BookReader::BookReader(TextPieces pieces, std::string name) : pieces_(std::move(pieces)), name_(std::move(name)) {}

bool BookReader::next(BookBlock& block) {
  while (ready_.empty() && !ended_) {
    const std::string piece = pieces_();
    ended_ = piece.empty();
    clean(piece);
    read_lines();
    if (ended_) end_book();
  }
  if (ready_.empty()) return false;
  block = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

void BookReader::clean(std::string_view bytes) {
  const std::size_t before = raw_.size();
  if (const std::size_t nul = bytes.find('\0'); nul != std::string_view::npos) {
    throw Error(cat(name_, ": byte ", cleaned_ + before + nul,
                    " is NUL: no plain text (UTF-16 has to be converted to UTF-8 first)"));
  }
  raw_ += bytes;
  if (!ended_ && raw_.size() < kByteOrderMark.size()) return;
  const std::string_view raw = raw_;
  std::size_t i = cleaned_ == 0 && raw.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  std::size_t end = raw.size();
  if (!ended_) end -= raw.ends_with('\r') ? 1 : utf8_incomplete_tail(raw);
  while (i < end) {
    std::size_t plain = i;
    while (plain < end && raw[plain] != '\r' && static_cast<unsigned char>(raw[plain]) < 0x80) ++plain;
    lines_ += raw.substr(i, plain - i);
    i = plain;
    if (i == end) break;
    if (raw[i] == '\r') {
      lines_ += '\n';
      i += raw.substr(i).starts_with("\r\n") ? 2 : 1;
      continue;
    }
    const std::size_t length = utf8_length_at(raw, i);
    if (length == 0) {
      append_windows1252(lines_, static_cast<unsigned char>(raw[i]));
    } else {
      lines_ += raw.substr(i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  cleaned_ += i;
  raw_.erase(0, i);
}

// Takes lines that belong to a book over into text_. Of a long line the front is enough to tell.
void BookReader::read_lines() {
  std::size_t at = 0;
  while (at < lines_.size()) {
    const std::size_t newline = lines_.find('\n', at);
    const std::size_t end = newline == std::string::npos ? lines_.size() : newline + 1;
    if (!inside_line_) {
      if (newline == std::string::npos && !ended_ && end - at < kLongestMark) break;
      const std::string_view line = std::string_view(lines_).substr(at, end - at);
      const bool starts = begins_with(line, kStarts), ends = begins_with(line, kEnds);
      if (starts) begin_book();
      if (ends) end_book();
      dropping_line_ = starts || ends;
    }
    if (!dropping_line_ && place_ != Place::kOutside) {
      text_.append(lines_, at, end - at);
      cut(!inside_line_ && is_blank_text(std::string_view(lines_).substr(at, end - at)));
    }
    inside_line_ = newline == std::string::npos;
    at = end;
  }
  lines_.erase(0, at);
}

void BookReader::begin_book() {
  if (place_ == Place::kHeader) text_.clear();
  end_book();
  place_ = Place::kBook;
  begins_book_ = true;
}

void BookReader::end_book() {
  put_out(text_.size());
  place_ = Place::kOutside;
}

// Puts out what is worth it; a blank line ends a paragraph.
void BookReader::cut(bool behind_blank_line) {
  if (text_.size() > kLongestHeader && place_ == Place::kHeader) place_ = Place::kBook;
  if (behind_blank_line && text_.size() >= kBlock) return put_out(text_.size());
  while (text_.size() >= kLongestParagraph) {
    const std::string_view window = std::string_view(text_).substr(0, kLongestParagraph);
    const std::size_t end = last_paragraph_end(window);
    put_out(end > 0 ? end : cut_inside(window));
  }
}

void BookReader::put_out(std::size_t count) {
  if (!is_blank_text(std::string_view(text_).substr(0, count))) {
    ready_.push_back({text_.substr(0, count), begins_book_});
    begins_book_ = false;
  }
  text_.erase(0, count);
}

}  // namespace wt
