// The text of a generation as it comes, token by token: whole characters only, and nothing that may turn out to be the
// start of a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace wt {

class TextStream {
 public:
  // `stops`: the text ends before the first of these. Throws UsageError where one is empty or not UTF-8.
  TextStream(Tokenizer tokenizer, std::vector<std::string> stops);

  // Text that is certain now, after this token; "" where all of it waits. Special tokens have no text. Bytes that
  // belong to no valid character become U+FFFD. Nothing comes any more once a stop string was found.
  std::string push(std::int32_t id);
  // What still waits: no stop string and no rest of a character came.
  std::string finish();
  // A stop string was found.
  bool stopped() const { return stopped_; }

 private:
  std::string take(std::size_t count);

  Tokenizer tokenizer_;
  std::vector<std::string> stops_;
  std::string waiting_;  // bytes
  bool stopped_ = false;
};

// Bytes at the end of `text` that begin a character whose rest is missing; 0 where none do.
std::size_t utf8_incomplete_tail(std::string_view text);

}  // namespace wt
