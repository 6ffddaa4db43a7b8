#include <algorithm>

#include "core/error.h"
#include "data/books.h"

namespace wt {

namespace {
constexpr std::int32_t kNarrowVocab = 65536;
}

BookText::BookText(std::int32_t vocab_size) : vocab_size_(vocab_size) {
  WT_CHECK(vocab_size > 0, "book text: vocab_size is ", vocab_size);
}

void BookText::begin_book(const std::string& name) {
  names_.push_back(name);
  book_offsets_.push_back(num_sentences());
}

void BookText::add_sentence(std::span<const std::int32_t> tokens) {
  WT_CHECK(!names_.empty(), "book text: a sentence before the first book");
  WT_CHECK(!tokens.empty(), "book text: an empty sentence");
  for (const std::int32_t token : tokens) {
    WT_CHECK(token >= 0 && token < vocab_size_, "book text: token ", token, ", expected 0 ... ", vocab_size_ - 1);
  }
  if (vocab_size_ <= kNarrowVocab) {
    for (const std::int32_t token : tokens) narrow_.push_back(static_cast<std::uint16_t>(token));
  } else {
    wide_.insert(wide_.end(), tokens.begin(), tokens.end());
  }
  sentence_offsets_.push_back(num_tokens() + static_cast<std::int64_t>(tokens.size()));
  book_offsets_.back() = num_sentences();
}

const std::string& BookText::book_name(std::int64_t book) const {
  WT_CHECK(book >= 0 && book < num_books(), "book ", book, " of ", num_books());
  return names_[static_cast<std::size_t>(book)];
}

std::int64_t BookText::first_sentence(std::int64_t book) const {
  WT_CHECK(book >= 0 && book <= num_books(), "book ", book, " of ", num_books());
  return book_offsets_[static_cast<std::size_t>(book)];
}

std::int64_t BookText::first_token(std::int64_t sentence) const {
  WT_CHECK(sentence >= 0 && sentence <= num_sentences(), "sentence ", sentence, " of ", num_sentences());
  return sentence_offsets_[static_cast<std::size_t>(sentence)];
}

std::int64_t BookText::sentence_at(std::int64_t token) const {
  WT_CHECK(token >= 0 && token < num_tokens(), "book text: token ", token, " of ", num_tokens());
  const auto after = std::upper_bound(sentence_offsets_.begin(), sentence_offsets_.end(), token);
  return static_cast<std::int64_t>(after - sentence_offsets_.begin()) - 1;
}

void BookText::append_sentence(std::int64_t sentence, std::int64_t limit, std::vector<std::int32_t>& out) const {
  const std::int64_t begin = first_token(sentence);
  const std::int64_t end = std::min(first_token(sentence + 1), begin + limit);
  if (vocab_size_ <= kNarrowVocab) {
    out.insert(out.end(), narrow_.begin() + begin, narrow_.begin() + end);
  } else {
    out.insert(out.end(), wide_.begin() + begin, wide_.begin() + end);
  }
}

}  // namespace wt
