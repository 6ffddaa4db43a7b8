// Tokenised books, mapped from a file: however long they are, memory holds what was read of them lately, and gives it
// up again where it is needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/token_file.h"

namespace wt {

// 2 bytes a token where the vocabulary has at most 65,536, else 4. Sentences are numbered through all books; each was
// tokenised with one blank in front, so that sentences put one behind the other read as prose. Safe from several
// threads.
class BookText {
 public:
  // Maps a file in the form that data/token_file.h describes. One of up to `checked_at_once` bytes is checked as a
  // whole, a larger one block by block before their first use: then the functions below throw Error, too, where one is
  // damaged. Throws Error where the file is missing, cut, damaged or was made of something else than `key` and
  // `vocab_size` say.
  static std::shared_ptr<const BookText> open(const std::string& path, std::int32_t vocab_size, const std::string& key,
                                              std::int64_t checked_at_once = std::int64_t{4} << 30);
  ~BookText();
  BookText(const BookText&) = delete;
  BookText& operator=(const BookText&) = delete;

  std::int32_t vocab_size() const { return static_cast<std::int32_t>(trailer_.vocab_size); }
  std::int64_t num_books() const { return trailer_.num_books; }
  std::int64_t num_sentences() const { return trailer_.num_sentences; }
  std::int64_t num_tokens() const { return trailer_.num_tokens; }
  std::string book_name(std::int64_t book) const;
  // Sentences [first_sentence(b), first_sentence(b+1)) are book b's.
  std::int64_t first_sentence(std::int64_t book) const;
  // Tokens [first_token(s), first_token(s+1)) are sentence s's.
  std::int64_t first_token(std::int64_t sentence) const;
  std::int64_t sentence_length(std::int64_t sentence) const {
    return first_token(sentence + 1) - first_token(sentence);
  }
  // The sentence that token number `token` (of all books) stands in, and the book that a sentence does.
  std::int64_t sentence_at(std::int64_t token) const;
  std::int64_t book_at(std::int64_t sentence) const;
  // Appends the first `limit` tokens of a sentence (all where it has fewer).
  void append_sentence(std::int64_t sentence, std::int64_t limit, std::vector<std::int32_t>& out) const;

 private:
  explicit BookText(const std::string& path);
  void map(std::int32_t vocab_size, const std::string& key);
  void check_whole_file() const;
  void check_block(std::int64_t block, std::string_view bytes) const;
  // The bytes [begin, begin + count) of the file, checked.
  const char* at(std::int64_t begin, std::int64_t count) const;
  std::int64_t offset(std::int64_t section, std::int64_t index, std::int64_t highest) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;
  int descriptor_ = -1;
  bool is_open_ = false;
  const char* bytes_ = nullptr;
  std::int64_t size_ = 0;
  TokenFileTrailer trailer_;
  TokenFileLayout layout_;
  std::vector<std::uint64_t> block_hashes_;
  mutable std::vector<std::atomic<bool>> checked_;  // by block
};

}  // namespace wt
