// Books from plain text files: found, read in blocks, tokenised on all cores.
#include "data/books.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <future>

#include "core/error.h"
#include "data/book_reader.h"
#include "data/books_file.h"
#include "data/sentences.h"
#include "data/thread_pool.h"
#include "data/tokenize_texts.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

TokenizedSentences tokenized(const std::string& text, const Tokenizer& tokenizer) {
  TokenizedSentences out;
  for (const std::string& sentence : split_sentences(text)) {
    const std::vector<std::int32_t> tokens = tokenizer.encode_plain(cat(" ", sentence));
    if (tokens.empty()) continue;  // of characters that the tokenizer's normalizer drops
    out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
    out.lengths.push_back(static_cast<std::int64_t>(tokens.size()));
  }
  return out;
}

// Takes blocks of text, gives the sink their tokens in the same order.
class BlockQueue {
 public:
  BlockQueue(const Tokenizer& tokenizer, BookSink& sink) : tokenizer_(tokenizer), sink_(sink) {}

  // `book` is a name where the block begins one. Waits while there are enough blocks in the making.
  void add(std::string text, const std::string& book) {
    summary_.num_bytes += static_cast<std::int64_t>(text.size());
    waiting_.push_back({book, pool_.submit([text = std::move(text), this] { return tokenized(text, tokenizer_); })});
    if (waiting_.size() > 2 * pool_.size()) take();
  }
  BooksSummary finish() {
    while (!waiting_.empty()) take();
    return summary_;
  }

 private:
  struct Block {
    std::string book;
    std::future<TokenizedSentences> sentences;
  };
  void take() {
    const TokenizedSentences block = waiting_.front().sentences.get();
    if (const std::string& book = waiting_.front().book; !book.empty()) name_ = book;
    waiting_.pop_front();
    if (block.lengths.empty()) return;
    if (!name_.empty()) {
      sink_.begin_book(name_);
      ++summary_.num_books;
      name_.clear();
    }
    sink_.add(block);
    summary_.num_sentences += static_cast<std::int64_t>(block.lengths.size());
    summary_.num_tokens += static_cast<std::int64_t>(block.tokens.size());
  }

  const Tokenizer& tokenizer_;
  BookSink& sink_;
  BooksSummary summary_;
  std::string name_;  // of a book that has begun without a token yet
  std::deque<Block> waiting_;
  ThreadPool pool_;  // last: its threads end before what they use
};

}  // namespace

std::string book_file_name(const std::string& path) {
  return fs::path(path).filename().string();
}

BooksSummary tokenize_texts(const std::vector<TextFile>& files, const Tokenizer& tokenizer, BookSink& sink,
                            const BooksProgress& progress) {
  std::int64_t total = 0, done = 0;
  for (const TextFile& file : files) total += file.bytes;
  BlockQueue queue(tokenizer, sink);
  for (const TextFile& file : files) {
    ContentHash hash;
    const auto pieces = [&, next = file_pieces(file.path)] {
      std::string piece = next();
      hash.add(piece);
      done += static_cast<std::int64_t>(piece.size());
      return piece;
    };
    const std::string name = book_file_name(file.path);
    BookReader reader(pieces, file.path);
    int books = 0;
    for (BookBlock block; reader.next(block);) {
      if (block.begins_book) ++books;
      const std::string book = !block.begins_book ? "" : books == 1 ? name : cat(name, " #", books);
      queue.add(std::move(block.text), book);
      if (progress) progress(BooksPhase::kTokenizing, name, done, total);
    }
    if (books == 0) throw Error(cat(file.path, ": holds no text"));
    if (file.hash && *file.hash != hash.value()) throw Error(cat(file.path, ": has changed while it was read"));
  }
  const BooksSummary summary = queue.finish();
  if (summary.num_books == 0) throw Error("the tokenizer makes no token of these books");
  return summary;
}

std::vector<std::string> find_books(const std::vector<std::string>& inputs) {
  std::vector<std::string> paths;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input, error)) {
      if (!fs::exists(input, error)) throw Error(cat(input, ": no such file or folder"));
      paths.push_back(input);
      continue;
    }
    std::vector<std::string> found;
    for (fs::recursive_directory_iterator it(input, error), end; !error && it != end; it.increment(error)) {
      if (it->is_regular_file() && it->path().extension() == ".txt") found.push_back(it->path().string());
    }
    if (error) throw Error(cat(input, ": cannot be listed: ", error.message()));
    if (found.empty()) throw Error(cat(input, ": no .txt file in this folder"));
    std::sort(found.begin(), found.end());
    paths.insert(paths.end(), found.begin(), found.end());
  }
  if (paths.empty()) throw Error("no books: name at least one .txt file or a folder of them");
  return paths;
}

std::vector<TextFile> text_files(const std::vector<std::string>& paths) {
  std::vector<TextFile> files;
  for (const std::string& path : paths) {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(path, error);  // of what is no regular file: unknown
    files.push_back({path, error ? 0 : static_cast<std::int64_t>(bytes), std::nullopt});
  }
  return files;
}

BooksSummary tokenize_books(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                            const std::string& output, const BooksProgress& progress) {
  const std::vector<TextFile> files = text_files(find_books(inputs));
  BooksWriter writer(output, tokenizer.vocab_size(), tokenizer.fingerprint());
  const BooksSummary summary = tokenize_texts(files, tokenizer, writer, progress);
  writer.commit();
  return summary;
}

}  // namespace wt
