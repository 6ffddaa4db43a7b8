#include "data/text_stream.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"

namespace wt {

std::size_t utf8_incomplete_tail(std::string_view text) {
  // A cut character is at most three bytes. It is one where some bytes behind it make it a valid character; the lowest
  // and the highest continuation reach every lead byte's range.
  for (std::size_t tail = std::min<std::size_t>(3, text.size()); tail > 0; --tail) {
    const std::string_view cut = text.substr(text.size() - tail);
    if (utf8_length_at(cut, 0) != 0) continue;
    for (const char fill : {'\x80', '\xBF'}) {
      std::string whole(cut);
      while (whole.size() < 4) {
        whole += fill;
        if (utf8_length_at(whole, 0) == whole.size()) return tail;
      }
    }
  }
  return 0;
}

TextStream::TextStream(Tokenizer tokenizer, std::vector<std::string> stops)
    : tokenizer_(std::move(tokenizer)), stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) throw UsageError("a stop string is empty");
    if (utf8_valid_until(stop, 0) != stop.size()) throw UsageError("a stop string is not UTF-8");
  }
}

std::string TextStream::take(std::size_t count) {
  const std::string out = utf8_repaired(std::string_view(waiting_).substr(0, count));
  waiting_.erase(0, count);
  return out;
}

std::string TextStream::push(std::int32_t id) {
  if (stopped_) return {};
  if (!tokenizer_.is_special(id)) waiting_ += tokenizer_.piece(id);
  std::size_t stop_at = std::string::npos;
  for (const std::string& stop : stops_) stop_at = std::min(stop_at, waiting_.find(stop));
  if (stop_at != std::string::npos) {
    stopped_ = true;
    std::string out = take(stop_at);
    waiting_.clear();
    return out;
  }
  std::size_t held = 0;  // the longest end of the text that begins a stop string
  for (const std::string& stop : stops_) {
    for (std::size_t length = std::min(stop.size() - 1, waiting_.size()); length > held; --length) {
      if (waiting_.compare(waiting_.size() - length, length, stop, 0, length) == 0) held = length;
    }
  }
  const std::string_view certain = std::string_view(waiting_).substr(0, waiting_.size() - held);
  return take(certain.size() - utf8_incomplete_tail(certain));
}

std::string TextStream::finish() {
  return take(waiting_.size());
}

}  // namespace wt
