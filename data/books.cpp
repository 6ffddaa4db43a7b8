// Books from plain text files; book_text.cpp holds them in memory, books_file.cpp in HDF5.
#include "data/books.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/books_file.h"
#include "data/sentences.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

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

// The first line at or after `from` that starts with one of the marks; npos where there is none.
std::size_t find_line(std::string_view text, std::size_t from, std::initializer_list<std::string_view> marks) {
  std::size_t position = from;
  while (position < text.size()) {
    for (const std::string_view mark : marks) {
      if (text.substr(position).starts_with(mark)) return position;
    }
    const std::size_t end = text.find('\n', position);
    if (end == std::string_view::npos) break;
    position = end + 1;
  }
  return std::string_view::npos;
}

// What stands between Project Gutenberg's header and its licence.
std::string_view without_frame(std::string_view text) {
  std::size_t begin = 0;
  const std::size_t start =
      find_line(text, 0, {"*** START OF", "***START OF", "*END*THE SMALL PRINT", "*END THE SMALL PRINT"});
  if (start != std::string_view::npos) begin = std::min(text.find('\n', start), text.size());
  const std::size_t end = find_line(text, begin, {"*** END OF", "***END OF"});
  return text.substr(begin, end == std::string_view::npos ? end : end - begin);
}

std::vector<std::vector<std::int32_t>> tokenized_sentences(const std::string& path, const Tokenizer& tokenizer,
                                                           std::int64_t& num_bytes) {
  const std::string text = read_book(path);
  num_bytes += static_cast<std::int64_t>(text.size());
  std::vector<std::vector<std::int32_t>> sentences;
  for (const std::string& sentence : split_sentences(text)) {
    sentences.push_back(tokenizer.encode_plain(cat(" ", sentence)));
  }
  if (sentences.empty()) throw Error(cat(path, ": holds no text"));
  return sentences;
}

std::string book_name(const std::string& path) {
  return fs::path(path).filename().string();
}

}  // namespace

std::string clean_book(std::string_view bytes, const std::string& name) {
  if (const std::size_t nul = bytes.find('\0'); nul != std::string_view::npos) {
    throw Error(cat(name, ": byte ", nul, " is NUL: no plain text (UTF-16 has to be converted to UTF-8 first)"));
  }
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    if (bytes[i] == '\r') {
      text += '\n';
      i += bytes.substr(i).starts_with("\r\n") ? 2 : 1;
      continue;
    }
    const std::size_t length = utf8_length_at(bytes, i);
    if (length == 0) {
      append_windows1252(text, static_cast<unsigned char>(bytes[i]));
    } else {
      text += bytes.substr(i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  return std::string(without_frame(text));
}

std::string read_book(const std::string& path) {
  return clean_book(read_file(path), path);
}

std::vector<std::string> find_books(const std::vector<std::string>& inputs) {
  std::vector<std::string> paths;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input, error)) {
      if (!fs::exists(input, error)) throw Error(cat(input, ": no such file or folder"));
      paths.push_back(input);
      continue;
    }
    std::vector<std::string> found;
    for (fs::recursive_directory_iterator it(input, error), end; !error && it != end; it.increment(error)) {
      if (it->is_regular_file() && it->path().extension() == ".txt") found.push_back(it->path().string());
    }
    if (error) throw Error(cat(input, ": cannot be listed: ", error.message()));
    if (found.empty()) throw Error(cat(input, ": no .txt file in this folder"));
    std::sort(found.begin(), found.end());
    paths.insert(paths.end(), found.begin(), found.end());
  }
  if (paths.empty()) throw Error("no books: name at least one .txt file or a folder of them");
  return paths;
}

BooksSummary tokenize_books(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                            const std::string& output, const BooksProgress& progress) {
  const std::vector<std::string> paths = find_books(inputs);
  BooksSummary summary;
  BooksWriter writer(output, tokenizer.vocab_size(), tokenizer.fingerprint());
  for (const std::string& path : paths) {
    const auto sentences = tokenized_sentences(path, tokenizer, summary.num_bytes);
    for (const auto& sentence : sentences) summary.num_tokens += static_cast<std::int64_t>(sentence.size());
    summary.num_sentences += static_cast<std::int64_t>(sentences.size());
    ++summary.num_books;
    writer.add_book(book_name(path), sentences);
    if (progress) progress(book_name(path), summary.num_books, static_cast<std::int64_t>(paths.size()));
  }
  writer.commit();
  return summary;
}

std::shared_ptr<const BookText> load_books(const std::string& path, const Tokenizer& tokenizer,
                                           const BooksProgress& progress) {
  if (path.ends_with(".h5") || path.ends_with(".hdf5")) return read_books(path, tokenizer);
  const std::vector<std::string> paths = find_books({path});
  auto text = std::make_shared<BookText>(tokenizer.vocab_size());
  std::int64_t num_bytes = 0;
  for (const std::string& file : paths) {
    text->begin_book(book_name(file));
    for (const auto& sentence : tokenized_sentences(file, tokenizer, num_bytes)) text->add_sentence(sentence);
    if (progress) progress(book_name(file), text->num_books(), static_cast<std::int64_t>(paths.size()));
  }
  return text;
}

}  // namespace wt
