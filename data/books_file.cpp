#include "data/books_file.h"

#include <algorithm>
#include <span>

#include "core/error.h"
#include "data/hdf5_file.h"
#include "data/token_file.h"

namespace wt {
namespace {

constexpr const char* kFormat = "wavetape books";
constexpr std::int64_t kVersion = 1;
// What is read at a time.
constexpr std::int64_t kSentencesAtOnce = std::int64_t{1} << 16, kTokensAtOnce = std::int64_t{1} << 20;

// Offsets that rise from 0 to `total`, without an empty stretch, in pieces.
class OffsetsReader {
 public:
  OffsetsReader(const Hdf5Reader& file, const char* name, std::int64_t total)
      : file_(file), name_(name), total_(total), count_(file.size(name)) {
    if (count_ < 1 || at(0) != 0 || at(count_ - 1) != total) {
      throw Error(cat(file.path(), ": ", name, " do not go from 0 to ", total, ": the file is damaged"));
    }
  }
  std::int64_t stretches() const { return count_ - 1; }
  // The ends of up to `limit` stretches, after those read before.
  std::vector<std::int64_t> next(std::int64_t limit) {
    const auto ends = file_.read<std::int64_t>(name_, read_ + 1, std::min(limit, stretches() - read_));
    for (const std::int64_t end : ends) {
      ++read_;
      if (end <= last_ || end > total_) {
        throw Error(cat(file_.path(), ": ", name_, " do not rise to ", total_, " at ", read_, " (", last_, ", ", end,
                        "): the file is damaged"));
      }
      last_ = end;
    }
    return ends;
  }

 private:
  std::int64_t at(std::int64_t index) const { return file_.read<std::int64_t>(name_, index, 1).front(); }
  const Hdf5Reader& file_;
  const char* name_;
  std::int64_t total_, count_;
  std::int64_t read_ = 0, last_ = 0;
};

std::vector<std::int32_t> read_tokens(const Hdf5Reader& file, std::int32_t vocab_size, std::int64_t begin,
                                      std::int64_t count) {
  std::vector<std::int32_t> tokens;
  if (vocab_size <= kNarrowVocab) {
    const auto narrow = file.read<std::uint16_t>("tokens", begin, count);
    tokens.assign(narrow.begin(), narrow.end());
  } else {
    tokens = file.read<std::int32_t>("tokens", begin, count);
  }
  const auto bad =
      std::find_if(tokens.begin(), tokens.end(), [&](std::int32_t token) { return token < 0 || token >= vocab_size; });
  if (bad != tokens.end()) {
    throw Error(cat(file.path(), ": token ", *bad, " at ", begin + (bad - tokens.begin()), ", expected below ",
                    vocab_size, ": the file is damaged"));
  }
  return tokens;
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
}

BooksWriter::~BooksWriter() = default;

void BooksWriter::begin_book(const std::string& name) {
  file_->append<std::int64_t>("book_offsets", std::span<const std::int64_t>(&num_sentences_, 1));
  names_.push_back(name);
}

void BooksWriter::add(const TokenizedSentences& sentences) {
  if (narrow_) {
    const std::vector<std::uint16_t> narrow(sentences.tokens.begin(), sentences.tokens.end());
    file_->append<std::uint16_t>("tokens", narrow);
  } else {
    file_->append<std::int32_t>("tokens", sentences.tokens);
  }
  std::vector<std::int64_t> offsets;
  for (const std::int64_t length : sentences.lengths) offsets.push_back(num_tokens_ += length);
  num_sentences_ += static_cast<std::int64_t>(offsets.size());
  file_->append<std::int64_t>("sentence_offsets", offsets);
}

void BooksWriter::commit() {
  file_->append<std::int64_t>("book_offsets", std::span<const std::int64_t>(&num_sentences_, 1));
  file_->texts("book_names", names_);
  file_->commit();
}

void check_books_file(const std::string& path) {
  const Hdf5Reader file(path, kFormat, kVersion);
}

void copy_books(const std::string& path, const Tokenizer& tokenizer, BookSink& sink,
                const std::function<void(std::int64_t tokens, std::int64_t total)>& progress) {
  const Hdf5Reader file(path, kFormat, kVersion);
  const std::int32_t vocab_size = tokenizer.vocab_size();
  if (file.text_attribute("tokenizer") != tokenizer.fingerprint() ||
      file.integer_attribute("vocab_size") != vocab_size) {
    throw Error(cat(path, ": made with another tokenizer (", file.text_attribute("tokenizer"), ", ",
                    file.integer_attribute("vocab_size"), " tokens) than the one in use (", tokenizer.fingerprint(),
                    ", ", vocab_size, " tokens): make it again with `wavetape data books`"));
  }
  const std::int64_t num_tokens = file.size("tokens");
  OffsetsReader sentences(file, "sentence_offsets", num_tokens);
  OffsetsReader books(file, "book_offsets", sentences.stretches());
  const std::vector<std::string> names = file.texts("book_names");
  if (static_cast<std::int64_t>(names.size()) != books.stretches()) {
    throw Error(cat(path, ": ", names.size(), " book_names for ", books.stretches(), " books: the file is damaged"));
  }

  std::int64_t sentence = 0, token = 0;  // done
  std::size_t book = 0;                  // that begins at book_begin
  std::int64_t book_begin = 0;
  TokenizedSentences batch;
  std::int64_t batch_end = 0;  // in tokens
  const auto put_out = [&] {
    if (batch.lengths.empty()) return;
    batch.tokens = read_tokens(file, vocab_size, token, batch_end - token);
    sink.add(batch);
    batch.lengths.clear();
    token = batch_end;
    if (progress) progress(token, num_tokens);
  };
  while (sentence < sentences.stretches()) {
    for (const std::int64_t end : sentences.next(kSentencesAtOnce)) {
      if (sentence == book_begin) {
        put_out();
        sink.begin_book(names[book++]);
        book_begin = books.next(1).front();
      }
      if (end - token > kTokensAtOnce) put_out();
      batch.lengths.push_back(end - batch_end);
      batch_end = end;
      ++sentence;
    }
  }
  put_out();
}

}  // namespace wt
