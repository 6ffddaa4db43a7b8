// Book text, tokenised and cut into sentences: the background that facts are hidden in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/book_text.h"
#include "data/tokenizer.h"

namespace wt {

// The .txt files that `inputs` (files, or folders searched with their subfolders) name, sorted by path within a folder.
// Throws Error where there are none.
std::vector<std::string> find_books(const std::vector<std::string>& inputs);

struct BooksSummary {
  std::int64_t num_books = 0;
  std::int64_t num_sentences = 0;
  std::int64_t num_tokens = 0;
  std::int64_t num_bytes = 0;  // of text
};

enum class BooksPhase : std::uint8_t { kChecking, kTokenizing, kWaiting };

// Called in the caller's thread, several times a second: what is done, the file at hand, and bytes of files done and in
// all. What it throws ends the work, and nothing is left behind. kChecking: whether tokens are kept already; kWaiting:
// until another process has made them.
using BooksProgress =
    std::function<void(BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total)>;

// Tokenises the books in the text files (data/book_reader.h; a file may hold several) into a file in HDF5, on all
// cores, with some blocks of text in memory (`wavetape data books`). The file: attributes `format` = "wavetape books",
// `version` = 1, `tokenizer` (fingerprint), `vocab_size`; datasets `tokens` (u16 or i32), `sentence_offsets` (i64,
// sentences + 1, in tokens), `book_offsets` (i64, books + 1, in sentences), `book_names`. Written under a temporary
// name, flushed to disk, renamed. The same bytes whatever the number of cores. Throws Error.
BooksSummary tokenize_books(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                            const std::string& output, const BooksProgress& progress = {});

struct LoadBooksOptions {
  std::string cache;  // a folder; "": the one that books_cache_folder() names
  BooksProgress progress;
  std::function<void(const std::string& line)> notice;  // what a user may want to know
};

// Books for the sampler, from what the user gave: a books.h5, or a .txt, or a folder of .txt. They are tokenised on all
// cores (of a books.h5: copied) into a file of the cache, from which they are mapped, then and at every later start
// that finds the same: names and bytes of the files, and the tokenizer. Files whose size, inode and times are those of
// an earlier start are not read again to see that. Nothing of the text or its tokens is in memory as a whole. A file of
// the cache that is damaged is reported and made anew; several processes that want the same one wait for the first.
//
// The cache holds books-KEY.tokens (data/token_file.h), and books-STATE.key with the key of files in a state. Throws
// Error; for a books.h5 where it is no such file or of another version, where offsets do not rise from 0 to the length
// of what they point into, where a token is not below vocab_size, and where it was made with another tokenizer.
std::shared_ptr<const BookText> load_books(const std::string& path, const Tokenizer& tokenizer,
                                           const LoadBooksOptions& options = {});

// Where tokens are kept: $WAVETAPE_CACHE, else $XDG_CACHE_HOME/wavetape, else ~/.cache/wavetape, else (where that
// cannot be written) wavetape-UID in the system's folder for temporary files. The folder is made. Throws Error.
std::string books_cache_folder();

}  // namespace wt
