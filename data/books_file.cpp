#include "data/books_file.h"

#include <algorithm>

#include "core/error.h"
#include "data/books.h"
#include "data/hdf5_file.h"

namespace wt {
namespace {

constexpr const char* kFormat = "wavetape books";
constexpr std::int64_t kVersion = 1;
constexpr std::int32_t kNarrowVocab = 65536;

// Offsets that rise from 0 to `total`, without an empty stretch.
void check_offsets(const std::string& path, const char* name, const std::vector<std::int64_t>& offsets,
                   std::int64_t total) {
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != total) {
    throw Error(cat(path, ": ", name, " do not go from 0 to ", total, ": the file is damaged"));
  }
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] <= offsets[i - 1]) {
      throw Error(cat(path, ": ", name, " do not rise at ", i, " (", offsets[i - 1], ", ", offsets[i],
                      "): the file is damaged"));
    }
  }
}

}  // namespace

BooksWriter::BooksWriter(const std::string& path, std::int32_t vocab_size, const std::string& fingerprint)
    : file_(std::make_unique<Hdf5Writer>(path)), narrow_(vocab_size <= kNarrowVocab) {
  file_->attribute("format", kFormat);
  file_->attribute("version", kVersion);
  file_->attribute("tokenizer", fingerprint);
  file_->attribute("vocab_size", static_cast<std::int64_t>(vocab_size));
  const std::int64_t zero = 0;
  file_->append<std::int64_t>("sentence_offsets", std::span(&zero, 1));
  file_->append<std::int64_t>("book_offsets", std::span(&zero, 1));
}

BooksWriter::~BooksWriter() = default;

void BooksWriter::add_book(const std::string& name, const std::vector<std::vector<std::int32_t>>& sentences) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> offsets;
  for (const auto& sentence : sentences) {
    tokens.insert(tokens.end(), sentence.begin(), sentence.end());
    offsets.push_back(num_tokens_ + static_cast<std::int64_t>(tokens.size()));
  }
  if (narrow_) {
    const std::vector<std::uint16_t> narrow(tokens.begin(), tokens.end());
    file_->append<std::uint16_t>("tokens", narrow);
  } else {
    file_->append<std::int32_t>("tokens", tokens);
  }
  num_tokens_ += static_cast<std::int64_t>(tokens.size());
  num_sentences_ += static_cast<std::int64_t>(sentences.size());
  file_->append<std::int64_t>("sentence_offsets", offsets);
  file_->append<std::int64_t>("book_offsets", std::span<const std::int64_t>(&num_sentences_, 1));
  names_.push_back(name);
}

void BooksWriter::commit() {
  file_->texts("book_names", names_);
  file_->commit();
}

std::shared_ptr<const BookText> read_books(const std::string& path, const Tokenizer& tokenizer) {
  const Hdf5Reader file(path, kFormat, kVersion);
  if (file.text_attribute("tokenizer") != tokenizer.fingerprint() ||
      file.integer_attribute("vocab_size") != tokenizer.vocab_size()) {
    throw Error(cat(path, ": made with another tokenizer (", file.text_attribute("tokenizer"), ", ",
                    file.integer_attribute("vocab_size"), " tokens) than the one in use (", tokenizer.fingerprint(),
                    ", ", tokenizer.vocab_size(), " tokens): make it again with `wavetape data books`"));
  }
  const std::int64_t num_tokens = file.size("tokens");
  const auto sentences = file.read<std::int64_t>("sentence_offsets");
  const auto books = file.read<std::int64_t>("book_offsets");
  const std::vector<std::string> names = file.texts("book_names");
  check_offsets(path, "sentence_offsets", sentences, num_tokens);
  check_offsets(path, "book_offsets", books, static_cast<std::int64_t>(sentences.size()) - 1);
  if (names.size() + 1 != books.size()) {
    throw Error(cat(path, ": ", names.size(), " book_names for ", books.size() - 1, " books: the file is damaged"));
  }

  auto text = std::make_shared<BookText>(tokenizer.vocab_size());
  std::vector<std::int32_t> tokens;
  for (std::size_t book = 0; book < names.size(); ++book) {
    const auto first = static_cast<std::size_t>(books[book]), last = static_cast<std::size_t>(books[book + 1]);
    const std::int64_t begin = sentences[first], count = sentences[last] - begin;
    if (tokenizer.vocab_size() <= kNarrowVocab) {
      const auto narrow = file.read<std::uint16_t>("tokens", begin, count);
      tokens.assign(narrow.begin(), narrow.end());
    } else {
      tokens = file.read<std::int32_t>("tokens", begin, count);
    }
    const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                  [&](std::int32_t token) { return token < 0 || token >= tokenizer.vocab_size(); });
    if (bad != tokens.end()) {
      throw Error(cat(path, ": token ", *bad, " at ", begin + (bad - tokens.begin()), ", expected below ",
                      tokenizer.vocab_size(), ": the file is damaged"));
    }
    text->begin_book(names[book]);
    for (std::size_t s = first; s < last; ++s) {
      text->add_sentence(std::span(tokens).subspan(static_cast<std::size_t>(sentences[s] - begin),
                                                   static_cast<std::size_t>(sentences[s + 1] - sentences[s])));
    }
  }
  return text;
}

}  // namespace wt
