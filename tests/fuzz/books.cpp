#include "data/books.h"

#include "tests/fuzz/target.h"

// The text of a book as it lies on a disk.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] { clean_book(fuzz::text_of(data, size), "fuzz"); });
}
