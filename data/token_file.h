// The file that tokenised books are mapped from (BookText::open). It is made and read on one machine, and may be
// deleted at any time: a start that misses it makes it anew.
//
// Little-endian, every section at a multiple of 8 bytes:
//
//   "wavetape tokens\n"                                           16 bytes
//   tokens             u16 where vocab_size <= 65,536, else i32   num_tokens
//   sentence offsets   i64, in tokens, rising from 0              num_sentences + 1
//   book offsets       i64, in sentences, rising from 0           num_books + 1
//   name offsets       i64, in bytes, from 0                      num_books + 1
//   names              UTF-8                                      name_bytes
//   block hashes       u64, hash_block() of each 64 KiB before    data_bytes / 64 KiB, rounded up
//   trailer            TokenFileTrailer
//
// A reader checks the trailer's own hash, then that the sections fill the file to the byte, then the hashes of the
// blocks' hashes and of blocks before their first use; offsets and tokens are checked again where they are used.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "data/book_sink.h"

namespace wt {

inline constexpr std::string_view kTokenFileMagic = "wavetape tokens\n";
inline constexpr std::int64_t kTokenFileVersion = 1;
inline constexpr std::int64_t kTokenBlock = std::int64_t{1} << 16;  // bytes with a hash of their own
inline constexpr std::int64_t kNarrowVocab = 65536;                 // ids of a larger vocabulary need four bytes

struct TokenFileTrailer {
  std::int64_t version = kTokenFileVersion;
  std::array<char, 16> key{};  // what the tokens were made of
  std::int64_t vocab_size = 0;
  std::int64_t num_tokens = 0;
  std::int64_t num_sentences = 0;
  std::int64_t num_books = 0;
  std::int64_t name_bytes = 0;
  std::uint64_t blocks_hash = 0;   // of the block hashes
  std::uint64_t trailer_hash = 0;  // of what stands before it
};

// Where the sections begin, in bytes.
struct TokenFileLayout {
  explicit TokenFileLayout(const TokenFileTrailer& trailer);
  std::int64_t tokens, sentence_offsets, book_offsets, name_offsets, names, block_hashes, trailer;
  std::int64_t size;  // of the file
  std::int64_t num_blocks;
};
std::uint64_t trailer_hash(const TokenFileTrailer& trailer);

// Bytes that wait on the disk for their place in the file; the disk's space is free again whatever ends the program.
class SpillFile {
 public:
  // Beside `path`. Throws Error, as all of these.
  explicit SpillFile(std::string path);
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  void write(std::string_view bytes);
  // From the beginning, in pieces.
  void read(const std::function<void(std::string_view)>& piece);

 private:
  void flush();
  std::string path_;
  int descriptor_ = -1;
  std::string buffer_;
};

class TokenFileWriter : public BookSink {
 public:
  // Nothing stands under `path` before commit(). `key` has 16 characters. Throws Error, as all of these.
  TokenFileWriter(const std::string& path, std::int32_t vocab_size, const std::string& key);
  void begin_book(const std::string& name) override;
  void add(const TokenizedSentences& sentences) override;
  void commit();

 private:
  void write(std::string_view bytes);
  void pad();
  void end_block();

  AtomicFile file_;
  SpillFile sentence_offsets_, book_offsets_, name_offsets_, names_;
  TokenFileTrailer trailer_;
  std::string block_;  // not yet written
  std::vector<std::uint64_t> block_hashes_;
};

}  // namespace wt
