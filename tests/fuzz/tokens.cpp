#include <cstring>

#include "data/book_text.h"
#include "data/content_hash.h"
#include "tests/fuzz/target.h"

// A file that tokenised books are mapped from; also with its hashes made right, so that what they protect is read.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  const auto read = [](const std::string& bytes) {
    const std::string& path =
        fuzz::file_with(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), ".tokens");
    fuzz::only_errors([&] {
      const auto books = BookText::open(path, 2048, "0123456789abcdef");
      std::vector<std::int32_t> tokens;
      for (std::int64_t book = 0; book < std::min<std::int64_t>(books->num_books(), 100); ++book) {
        fuzz::only_errors([&] { books->book_name(book); });
        fuzz::only_errors([&] { books->book_at(books->first_sentence(book)); });
      }
      for (std::int64_t s = 0; s < std::min<std::int64_t>(books->num_sentences(), 1000); ++s) {
        fuzz::only_errors([&] { books->append_sentence(s, 100, tokens); });
        fuzz::only_errors([&] { books->sentence_at(books->first_token(s)); });
      }
    });
  };
  std::string bytes(fuzz::text_of(data, size));
  read(bytes);
  TokenFileTrailer trailer;
  if (size < sizeof trailer + kTokenFileMagic.size()) return 0;
  const std::size_t at = size - sizeof trailer;
  std::memcpy(&trailer, data + at, sizeof trailer);
  // One block, as far as such small files go.
  if (const std::size_t hashes = at - 8; at % 8 == 0 && hashes <= static_cast<std::size_t>(kTokenBlock)) {
    const std::uint64_t hash = hash_block(std::string_view(bytes).substr(0, hashes), 0);
    std::memcpy(bytes.data() + hashes, &hash, sizeof hash);
    trailer.blocks_hash = hash_block(std::string_view(bytes).substr(hashes, 8), 0);
  }
  trailer.trailer_hash = trailer_hash(trailer);
  std::memcpy(bytes.data() + at, &trailer, sizeof trailer);
  read(bytes);
  return 0;
}
