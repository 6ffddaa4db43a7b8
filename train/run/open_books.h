// Books as a person sees them being read: a bar while text is tokenised, and Ctrl-C.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/books.h"
#include "train/progress.h"
#include "train/signals.h"

namespace wt {

// A bar on standard error, in megabytes, for tokenize_books() and load_books(). A signal ends their work: update()
// throws ExitWith, and nothing half-made is left.
class BooksBar {
 public:
  void update(BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total);

 private:
  StopSignals signals_;
  std::unique_ptr<Progress> progress_;
  BooksPhase phase_ = BooksPhase::kChecking;
};

// Throws ExitWith where one of the signals has come.
void stop_if_requested(const StopSignals& signals);

// load_books() with such a bar; a damaged file of the cache is said in a line on standard error.
std::shared_ptr<const BookText> open_books(const std::string& path, const Tokenizer& tokenizer);

}  // namespace wt
