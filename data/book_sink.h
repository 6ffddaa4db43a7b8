// Where tokenised books go: a books.h5, or the file they are mapped from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wt {

struct TokenizedSentences {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> lengths;  // in tokens, none 0; their sum is tokens.size()
};

class BookSink {
 public:
  virtual ~BookSink() = default;
  // A book is followed by at least one sentence of it.
  virtual void begin_book(const std::string& name) = 0;
  virtual void add(const TokenizedSentences& sentences) = 0;
};

}  // namespace wt
