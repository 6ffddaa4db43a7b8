#include "data/book_reader.h"
#include "tests/fuzz/target.h"

// Books as they lie on a disk: cut where the first byte says, which must change nothing.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  const std::string bytes(fuzz::text_of(data, size));
  const auto read = [&](std::size_t piece) {
    std::size_t at = 0;
    BookReader reader(
        [&] {
          const std::string next = bytes.substr(at, piece);
          at += next.size();
          return next;
        },
        "fuzz");
    std::string out;
    for (BookBlock block; reader.next(block);) out += (block.begins_book ? "\x01" : "") + block.text;
    return out;
  };
  return fuzz::only_errors([&] {
    if (read(size + 1) != read(1 + (size > 0 ? data[0] : 0))) __builtin_trap();
  });
}
