// Writes books.h5, one book in memory at a time. Internal; the format is described at tokenize_books().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace wt {

class Hdf5Writer;

class BooksWriter {
 public:
  BooksWriter(const std::string& path, std::int32_t vocab_size, const std::string& fingerprint);
  ~BooksWriter();
  void add_book(const std::string& name, const std::vector<std::vector<std::int32_t>>& sentences);
  void commit();

 private:
  std::unique_ptr<Hdf5Writer> file_;
  bool narrow_;
  std::int64_t num_sentences_ = 0;
  std::int64_t num_tokens_ = 0;
  std::vector<std::string> names_;
};

}  // namespace wt
