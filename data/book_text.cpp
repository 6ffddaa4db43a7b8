#include "data/book_text.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "data/content_hash.h"

namespace wt {

std::shared_ptr<const BookText> BookText::open(const std::string& path, std::int32_t vocab_size, const std::string& key,
                                               std::int64_t checked_at_once) {
  const std::shared_ptr<BookText> books(new BookText(path));
  books->map(vocab_size, key);
  if (books->size_ <= checked_at_once) books->check_whole_file();
  books->is_open_ = true;
  return books;
}

BookText::BookText(const std::string& path) : path_(path), layout_(trailer_) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw Error(cat("cannot open ", path_, ": ", std::strerror(errno)));
}

BookText::~BookText() {
  if (bytes_ != nullptr) ::munmap(const_cast<char*>(bytes_), static_cast<std::size_t>(size_));
  ::close(descriptor_);
}

void BookText::fail(const std::string& what) const {
  throw Error(cat(path_, ": ", what, is_open_ ? "; delete the file, and the next start makes it anew" : ""));
}

void BookText::map(std::int32_t vocab_size, const std::string& key) {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw Error(cat("cannot read ", path_, ": ", std::strerror(errno)));
  size_ = S_ISREG(status.st_mode) ? static_cast<std::int64_t>(status.st_size) : 0;
  const auto trailer_size = static_cast<std::int64_t>(sizeof trailer_);
  if (size_ < static_cast<std::int64_t>(kTokenFileMagic.size()) + trailer_size) fail("no file of tokens, or cut short");
  void* mapped = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_SHARED, descriptor_, 0);
  if (mapped == MAP_FAILED) throw Error(cat("cannot map ", path_, ": ", std::strerror(errno)));
  bytes_ = static_cast<const char*>(mapped);
  if (!std::string_view(bytes_, static_cast<std::size_t>(size_)).starts_with(kTokenFileMagic)) {
    fail("no file of tokens");
  }
  TokenFileTrailer trailer;
  std::memcpy(&trailer, bytes_ + size_ - trailer_size, sizeof trailer);
  if (trailer.trailer_hash != trailer_hash(trailer)) fail("damaged or cut short");
  if (trailer.version != kTokenFileVersion) fail(cat("version ", trailer.version, ", expected ", kTokenFileVersion));
  // Each at most the file's size, so that no sum of them overflows.
  for (const std::int64_t count : {trailer.num_tokens, trailer.num_sentences, trailer.num_books, trailer.name_bytes}) {
    if (count < 0 || count > size_) fail("damaged");
  }
  if (std::string_view(trailer.key.data(), trailer.key.size()) != key || trailer.vocab_size != vocab_size) {
    fail("made of other books or with another tokenizer");
  }
  trailer_ = trailer;
  layout_ = TokenFileLayout(trailer);
  if (layout_.size != size_) fail(cat(size_, " bytes, expected ", layout_.size, ": damaged or cut short"));
  block_hashes_.resize(static_cast<std::size_t>(layout_.num_blocks));
  std::memcpy(block_hashes_.data(), bytes_ + layout_.block_hashes, 8 * block_hashes_.size());
  const std::string_view hashes(bytes_ + layout_.block_hashes, 8 * block_hashes_.size());
  if (hash_block(hashes, 0) != trailer.blocks_hash) fail("damaged");
  checked_ = std::vector<std::atomic<bool>>(block_hashes_.size());
}

// Read, not through the mapping, whose pages would count as this process's memory.
void BookText::check_whole_file() const {
  std::string buffer(static_cast<std::size_t>(kTokenBlock), '\0');
  for (std::int64_t block = 0; block < layout_.num_blocks; ++block) {
    const std::int64_t begin = block * kTokenBlock;
    const auto count = static_cast<std::size_t>(std::min(kTokenBlock, layout_.block_hashes - begin));
    for (std::size_t done = 0; done < count;) {
      const ssize_t got = ::pread(descriptor_, buffer.data() + done, count - done,
                                  static_cast<off_t>(begin) + static_cast<off_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error(cat("cannot read ", path_, ": ", std::strerror(errno)));
      if (got == 0) fail("cut short while it was read");
      done += static_cast<std::size_t>(got);
    }
    check_block(block, std::string_view(buffer).substr(0, count));
  }
}

void BookText::check_block(std::int64_t block, std::string_view bytes) const {
  const auto index = static_cast<std::size_t>(block);
  if (hash_block(bytes, 0) != block_hashes_[index]) fail(cat("damaged at byte ", block * kTokenBlock, " or behind it"));
  checked_[index].store(true, std::memory_order_relaxed);
}

const char* BookText::at(std::int64_t begin, std::int64_t count) const {
  for (std::int64_t block = begin / kTokenBlock; block * kTokenBlock < begin + count; ++block) {
    if (checked_[static_cast<std::size_t>(block)].load(std::memory_order_relaxed)) continue;
    const std::int64_t first = block * kTokenBlock;
    check_block(block, {bytes_ + first, static_cast<std::size_t>(std::min(kTokenBlock, layout_.block_hashes - first))});
  }
  return bytes_ + begin;
}

std::int64_t BookText::offset(std::int64_t section, std::int64_t index, std::int64_t highest) const {
  std::int64_t value = 0;
  std::memcpy(&value, at(section + 8 * index, 8), sizeof value);
  if (value < 0 || value > highest) fail(cat("offset ", value, ", expected 0 ... ", highest));
  return value;
}

std::string BookText::book_name(std::int64_t book) const {
  WT_CHECK(book >= 0 && book < num_books(), "book ", book, " of ", num_books());
  const std::int64_t begin = offset(layout_.name_offsets, book, trailer_.name_bytes);
  const std::int64_t end = offset(layout_.name_offsets, book + 1, trailer_.name_bytes);
  if (end < begin) fail("name offsets that fall");
  return {at(layout_.names + begin, end - begin), static_cast<std::size_t>(end - begin)};
}

std::int64_t BookText::first_sentence(std::int64_t book) const {
  WT_CHECK(book >= 0 && book <= num_books(), "book ", book, " of ", num_books());
  return offset(layout_.book_offsets, book, num_sentences());
}

std::int64_t BookText::first_token(std::int64_t sentence) const {
  WT_CHECK(sentence >= 0 && sentence <= num_sentences(), "sentence ", sentence, " of ", num_sentences());
  return offset(layout_.sentence_offsets, sentence, num_tokens());
}

namespace {

// The last i of 0 ... count-1 where first(i) <= wanted; first rises.
template <class First>
std::int64_t last_not_above(std::int64_t count, std::int64_t wanted, const First& first) {
  std::int64_t low = 0, high = count;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (first(middle) <= wanted ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::int64_t BookText::sentence_at(std::int64_t token) const {
  WT_CHECK(token >= 0 && token < num_tokens(), "book text: token ", token, " of ", num_tokens());
  return last_not_above(num_sentences(), token, [&](std::int64_t sentence) { return first_token(sentence); });
}

std::int64_t BookText::book_at(std::int64_t sentence) const {
  WT_CHECK(sentence >= 0 && sentence < num_sentences(), "sentence ", sentence, " of ", num_sentences());
  return last_not_above(num_books(), sentence, [&](std::int64_t book) { return first_sentence(book); });
}

void BookText::append_sentence(std::int64_t sentence, std::int64_t limit, std::vector<std::int32_t>& out) const {
  const std::int64_t begin = first_token(sentence);
  const std::int64_t count = std::min(sentence_length(sentence), limit);
  const auto append = [&](auto token) {
    const auto width = static_cast<std::int64_t>(sizeof token);
    const char* from = count > 0 ? at(layout_.tokens + begin * width, count * width) : nullptr;
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(&token, from + i * width, sizeof token);
      const std::int32_t id = token;
      if (id < 0 || id >= vocab_size()) fail(cat("token ", id, ", expected below ", vocab_size()));
      out.push_back(id);
    }
  };
  if (trailer_.vocab_size <= kNarrowVocab) {
    append(std::uint16_t{});
  } else {
    append(std::int32_t{});
  }
}

}  // namespace wt
