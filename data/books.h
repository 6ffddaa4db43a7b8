// Book text, tokenised and cut into sentences: the background that facts are hidden in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace wt {

// The text of a book's file: UTF-8 (a byte order mark is dropped; bytes that are not UTF-8 are read as Windows-1252,
// the Latin-1 of old e-texts), line ends made LF, and what stands outside Project Gutenberg's "*** START OF" and "***
// END OF" lines removed. Throws Error for a file that cannot be read or holds NUL bytes (no text).
std::string read_book(const std::string& path);
// The same from the bytes of a file.
std::string clean_book(std::string_view bytes, const std::string& name);

// The .txt files that `inputs` (files, or folders searched with their subfolders) name, sorted by path within a folder.
// Throws Error where there are none.
std::vector<std::string> find_books(const std::vector<std::string>& inputs);

// Tokenised books in memory: 2 bytes a token where the vocabulary is below 65,536, else 4. Sentences are numbered
// through all books; each was tokenised with one blank in front, so that sentences put one behind the other read as
// prose.
class BookText {
 public:
  explicit BookText(std::int32_t vocab_size);

  // Adds a book, or a sentence to the last book.
  void begin_book(const std::string& name);
  void add_sentence(std::span<const std::int32_t> tokens);

  std::int32_t vocab_size() const { return vocab_size_; }
  std::int64_t num_books() const { return static_cast<std::int64_t>(names_.size()); }
  std::int64_t num_sentences() const { return static_cast<std::int64_t>(sentence_offsets_.size()) - 1; }
  std::int64_t num_tokens() const { return sentence_offsets_.back(); }
  const std::string& book_name(std::int64_t book) const;
  // Sentences [first_sentence(b), first_sentence(b+1)) are book b's.
  std::int64_t first_sentence(std::int64_t book) const;
  // Tokens [first_token(s), first_token(s+1)) are sentence s's.
  std::int64_t first_token(std::int64_t sentence) const;
  std::int64_t sentence_length(std::int64_t sentence) const {
    return first_token(sentence + 1) - first_token(sentence);
  }
  // The sentence that token number `token` (of all books) stands in.
  std::int64_t sentence_at(std::int64_t token) const;
  // Appends the first `limit` tokens of a sentence (all where it has fewer).
  void append_sentence(std::int64_t sentence, std::int64_t limit, std::vector<std::int32_t>& out) const;

 private:
  std::int32_t vocab_size_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> book_offsets_{0};      // in sentences
  std::vector<std::int64_t> sentence_offsets_{0};  // in tokens
  std::vector<std::uint16_t> narrow_;              // one of the two is used
  std::vector<std::int32_t> wide_;
};

struct BooksSummary {
  std::int64_t num_books = 0;
  std::int64_t num_sentences = 0;
  std::int64_t num_tokens = 0;
  std::int64_t num_bytes = 0;  // of text
};

// Called after each book: its name, how many are done and how many there are.
using BooksProgress = std::function<void(const std::string& name, std::int64_t done, std::int64_t total)>;

// Tokenises the books into a file in HDF5, one book in memory at a time (`wavetape data books`). The file: attributes
// `format` = "wavetape books", `version` = 1, `tokenizer` (fingerprint), `vocab_size`; datasets `tokens` (u16 or i32),
// `sentence_offsets` (i64, sentences + 1, in tokens), `book_offsets` (i64, books + 1, in sentences), `book_names`.
// Written under a temporary name, flushed to disk, renamed. Throws Error.
BooksSummary tokenize_books(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                            const std::string& output, const BooksProgress& progress = {});

// Reads such a file. Throws Error where it is no such file or of another version, where offsets do not rise from 0 to
// the length of what they point into, where a token is not below vocab_size, and where it was made with another
// tokenizer.
std::shared_ptr<const BookText> read_books(const std::string& path, const Tokenizer& tokenizer);

// Books for the sampler, from what the user gave: a books.h5, or a .txt, or a folder of .txt (tokenised on the spot).
std::shared_ptr<const BookText> load_books(const std::string& path, const Tokenizer& tokenizer,
                                           const BooksProgress& progress = {});

}  // namespace wt
