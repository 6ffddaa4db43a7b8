#include "data/token_file.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "data/content_hash.h"

namespace wt {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are mapped as they are");
static_assert(sizeof(TokenFileTrailer) == 80, "the trailer is written as it is");

constexpr std::size_t kSpillBuffer = std::size_t{1} << 16;

template <class T>
std::string_view bytes_of(const T* values, std::size_t count) {
  return {reinterpret_cast<const char*>(values), count * sizeof(T)};
}

std::int64_t padded(std::int64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

}  // namespace

TokenFileLayout::TokenFileLayout(const TokenFileTrailer& t) {
  tokens = static_cast<std::int64_t>(kTokenFileMagic.size());
  sentence_offsets = padded(tokens + t.num_tokens * (t.vocab_size <= kNarrowVocab ? 2 : 4));
  book_offsets = sentence_offsets + 8 * (t.num_sentences + 1);
  name_offsets = book_offsets + 8 * (t.num_books + 1);
  names = name_offsets + 8 * (t.num_books + 1);
  block_hashes = padded(names + t.name_bytes);
  num_blocks = (block_hashes + kTokenBlock - 1) / kTokenBlock;
  trailer = block_hashes + 8 * num_blocks;
  size = trailer + static_cast<std::int64_t>(sizeof(TokenFileTrailer));
}

std::uint64_t trailer_hash(const TokenFileTrailer& trailer) {
  return hash_block(bytes_of(&trailer, 1).substr(0, offsetof(TokenFileTrailer, trailer_hash)), 0);
}

SpillFile::SpillFile(std::string path) : path_(std::move(path)) {
  std::string name = path_ + ".XXXXXX";  // for the moment until it has none
  descriptor_ = ::mkstemp(name.data());
  if (descriptor_ < 0) throw Error(cat("cannot write ", path_, ": ", std::strerror(errno)));
  ::unlink(name.c_str());
}

SpillFile::~SpillFile() {
  ::close(descriptor_);
}

void SpillFile::write(std::string_view bytes) {
  buffer_ += bytes;
  if (buffer_.size() >= kSpillBuffer) flush();
}

void SpillFile::flush() {
  for (std::string_view rest = buffer_; !rest.empty();) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Error(cat("cannot write ", path_, ": ", std::strerror(errno)));
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void SpillFile::read(const std::function<void(std::string_view)>& piece) {
  flush();
  std::string buffer(kSpillBuffer, '\0');
  for (off_t at = 0;;) {
    const ssize_t count = ::pread(descriptor_, buffer.data(), buffer.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(cat("cannot read ", path_, ": ", std::strerror(errno)));
    if (count == 0) return;
    piece(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
    at += count;
  }
}

TokenFileWriter::TokenFileWriter(const std::string& path, std::int32_t vocab_size, const std::string& key)
    : file_(path), sentence_offsets_(path), book_offsets_(path), name_offsets_(path), names_(path) {
  WT_CHECK(key.size() == trailer_.key.size(), "token file: key `", key, "`, expected 16 characters");
  key.copy(trailer_.key.data(), key.size());
  trailer_.vocab_size = vocab_size;
  write(kTokenFileMagic);
  sentence_offsets_.write(bytes_of(&trailer_.num_tokens, 1));
  name_offsets_.write(bytes_of(&trailer_.name_bytes, 1));
}

void TokenFileWriter::begin_book(const std::string& name) {
  book_offsets_.write(bytes_of(&trailer_.num_sentences, 1));
  names_.write(name);
  trailer_.name_bytes += static_cast<std::int64_t>(name.size());
  name_offsets_.write(bytes_of(&trailer_.name_bytes, 1));
  ++trailer_.num_books;
}

void TokenFileWriter::add(const TokenizedSentences& sentences) {
  for (const std::int32_t token : sentences.tokens) {
    WT_CHECK(token >= 0 && token < trailer_.vocab_size, "token ", token, ", expected 0 ... ", trailer_.vocab_size - 1);
  }
  if (trailer_.vocab_size <= kNarrowVocab) {
    const std::vector<std::uint16_t> narrow(sentences.tokens.begin(), sentences.tokens.end());
    write(bytes_of(narrow.data(), narrow.size()));
  } else {
    write(bytes_of(sentences.tokens.data(), sentences.tokens.size()));
  }
  for (const std::int64_t length : sentences.lengths) {
    WT_CHECK(length > 0, "a sentence of ", length, " tokens");
    trailer_.num_tokens += length;
    ++trailer_.num_sentences;
    sentence_offsets_.write(bytes_of(&trailer_.num_tokens, 1));
  }
}

void TokenFileWriter::commit() {
  pad();
  book_offsets_.write(bytes_of(&trailer_.num_sentences, 1));
  for (SpillFile* section : {&sentence_offsets_, &book_offsets_, &name_offsets_, &names_}) {
    section->read([&](std::string_view piece) { write(piece); });
  }
  pad();
  if (!block_.empty()) end_block();
  const std::string_view hashes = bytes_of(block_hashes_.data(), block_hashes_.size());
  trailer_.blocks_hash = hash_block(hashes, 0);
  trailer_.trailer_hash = trailer_hash(trailer_);
  file_.write(hashes);
  file_.write(bytes_of(&trailer_, 1));
  file_.commit();
}

void TokenFileWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), static_cast<std::size_t>(kTokenBlock) - block_.size());
    block_ += bytes.substr(0, count);
    bytes.remove_prefix(count);
    if (block_.size() == static_cast<std::size_t>(kTokenBlock)) end_block();
  }
}

// To a multiple of 8 bytes, as blocks have.
void TokenFileWriter::pad() {
  write(std::string((8 - block_.size() % 8) % 8, '\0'));
}

void TokenFileWriter::end_block() {
  block_hashes_.push_back(hash_block(block_, 0));
  file_.write(block_);
  block_.clear();
}

}  // namespace wt
