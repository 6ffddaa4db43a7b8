// Text files to tokens. Internal to the books.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/book_sink.h"
#include "data/books.h"
#include "data/content_hash.h"

namespace wt {

struct TextFile {
  std::string path;
  std::int64_t bytes = 0;             // for the progress
  std::optional<std::uint64_t> hash;  // ContentHash of the bytes, where it is known
};

std::vector<TextFile> text_files(const std::vector<std::string>& paths);

// What a book is called: its file, with " #2", " #3", ... for those behind the first in one file.
std::string book_file_name(const std::string& path);

// Throws Error for a file without text, and for one whose bytes are not those of its hash.
BooksSummary tokenize_texts(const std::vector<TextFile>& files, const Tokenizer& tokenizer, BookSink& sink,
                            const BooksProgress& progress);

}  // namespace wt
