// Made-up books for a test, as the sampler reads them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/book_text.h"
#include "tests/support/temp_folder.h"

namespace wt::test {

class BookBuilder {
 public:
  explicit BookBuilder(std::int32_t vocab_size)
      : vocab_size_(vocab_size), writer_(std::make_unique<TokenFileWriter>(folder_ / "books", vocab_size, kKey)) {}
  void begin_book(const std::string& name) { writer_->begin_book(name); }
  void add_sentence(const std::vector<std::int32_t>& tokens) {
    writer_->add({tokens, {static_cast<std::int64_t>(tokens.size())}});
  }
  // Once; the file goes with the builder, what is mapped of it stays.
  std::shared_ptr<const BookText> build() {
    writer_->commit();
    return BookText::open(folder_ / "books", vocab_size_, kKey);
  }

 private:
  static constexpr const char* kKey = "0123456789abcdef";
  TempFolder folder_;
  std::int32_t vocab_size_;
  std::unique_ptr<TokenFileWriter> writer_;
};

}  // namespace wt::test
