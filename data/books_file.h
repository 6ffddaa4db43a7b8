// books.h5, the form that tokenised books are handed on in. Internal; the format is described at tokenize_books().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/book_sink.h"
#include "data/tokenizer.h"

namespace wt {

class Hdf5Writer;

class BooksWriter : public BookSink {
 public:
  BooksWriter(const std::string& path, std::int32_t vocab_size, const std::string& fingerprint);
  ~BooksWriter() override;
  void begin_book(const std::string& name) override;
  void add(const TokenizedSentences& sentences) override;
  void commit();

 private:
  std::unique_ptr<Hdf5Writer> file_;
  bool narrow_;
  std::int64_t num_sentences_ = 0;
  std::int64_t num_tokens_ = 0;
  std::vector<std::string> names_;
};

// Throws Error where the file is of another kind or version, or cut.
void check_books_file(const std::string& path);

// Reads such a file from its beginning to its end, some thousand sentences in memory at a time. Throws Error where it
// is no such file, damaged or made with another tokenizer (see load_books()).
void copy_books(const std::string& path, const Tokenizer& tokenizer, BookSink& sink,
                const std::function<void(std::int64_t tokens, std::int64_t total)>& progress = {});

}  // namespace wt
