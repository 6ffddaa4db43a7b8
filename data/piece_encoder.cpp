#include "data/piece_encoder.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace wt {
namespace {

constexpr std::size_t kContext = 1024;  // bytes on either side that a cut is tried with
constexpr int kTries = 512;             // cuts that are tried before more text is waited for

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// Where a character starts, as far as its first byte says.
bool starts_character(std::string_view text, std::size_t position) {
  return position >= text.size() || (static_cast<unsigned char>(text[position]) & 0xC0) != 0x80;
}

// Worth a try: before the first blank behind a word, after a line, and in scripts without blanks anywhere.
bool is_likely(std::string_view text, std::size_t cut) {
  const char before = text[cut - 1], after = text[cut];
  if ((static_cast<unsigned char>(before) | static_cast<unsigned char>(after)) >= 0x80) {
    return starts_character(text, cut);
  }
  return (is_space(after) && !is_space(before)) || (before == '\n' && !is_space(after));
}

}  // namespace

PieceEncoder::PieceEncoder(Tokenizer tokenizer, const EncodeOptions& options, Sink sink, std::size_t piece)
    : tokenizer_(std::move(tokenizer)),
      options_(options),
      inside_{options.match_added_tokens, /*add_special_tokens=*/false, /*leading_space_is_prefix=*/true,
              options.token_breaker},
      sink_(std::move(sink)),
      piece_(piece),
      wanted_(piece + kContext) {
  WT_CHECK(piece > 0, "a piece of a text has at least one byte");
}

void PieceEncoder::push(std::string_view text) {
  // However much is pushed, a piece is looked for after each `piece_` bytes of it.
  for (; !text.empty(); text.remove_prefix(std::min(piece_, text.size()))) {
    waiting_ += text.substr(0, piece_);
    while (waiting_.size() >= wanted_) {
      std::size_t cut = find_cut(waiting_);
      if (cut == 0 && waiting_.size() < 4 * piece_ + kContext) {
        wanted_ = waiting_.size() + piece_;
        break;
      }
      if (cut == 0) {
        cut = waiting_.size() - kContext;
        while (cut > 1 && !starts_character(waiting_, cut)) --cut;
      }
      encode(std::string_view(waiting_).substr(0, cut), false);
      waiting_.erase(0, cut);
      wanted_ = piece_ + kContext;
    }
  }
}

void PieceEncoder::finish() {
  encode(waiting_, true);
  waiting_.clear();
}

// The last place with enough text behind it where a cut changes nothing; 0 where none is found.
std::size_t PieceEncoder::find_cut(std::string_view text) const {
  int tries = 0;
  for (std::size_t cut = text.size() - kContext; cut > 0 && tries < kTries; --cut) {
    if (!is_likely(text, cut)) continue;
    ++tries;
    if (changes_nothing(text, cut)) return cut;
  }
  return 0;
}

bool PieceEncoder::changes_nothing(std::string_view text, std::size_t cut) const {
  std::size_t begin = cut - std::min(cut, kContext), end = std::min(text.size(), cut + kContext);
  while (begin < cut && !starts_character(text, begin)) ++begin;
  while (end > cut && !starts_character(text, end)) --end;
  std::vector<std::int32_t> apart = tokenizer_.encode(text.substr(begin, cut - begin), inside_);
  const std::vector<std::int32_t> after = tokenizer_.encode(text.substr(cut, end - cut), inside_);
  apart.insert(apart.end(), after.begin(), after.end());
  return apart == tokenizer_.encode(text.substr(begin, end - begin), inside_);
}

void PieceEncoder::encode(std::string_view text, bool last) {
  std::vector<std::int32_t> ids;
  const bool special = options_.add_special_tokens;
  if (special && !started_) ids = tokenizer_.ids_before();
  EncodeOptions options = started_ ? inside_ : options_;
  options.add_special_tokens = false;
  const std::vector<std::int32_t> inner = tokenizer_.encode(text, options);
  ids.insert(ids.end(), inner.begin(), inner.end());
  if (special && last) ids.insert(ids.end(), tokenizer_.ids_after().begin(), tokenizer_.ids_after().end());
  started_ = true;
  if (!ids.empty()) sink_(ids);
}

}  // namespace wt
