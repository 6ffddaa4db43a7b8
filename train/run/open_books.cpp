#include "train/run/open_books.h"

#include "core/text.h"
#include "train/commands/commands.h"
#include "train/notice.h"

namespace wt {
namespace {

constexpr std::int64_t kMegabyte = 1000000;

const char* title_of(BooksPhase phase) {
  return phase == BooksPhase::kChecking ? "checking books (MB)" : "tokenising (MB)";
}

std::int64_t megabytes(std::int64_t bytes) {
  return (bytes + kMegabyte - 1) / kMegabyte;
}

}  // namespace

void stop_if_requested(const StopSignals& signals) {
  if (signals.requested()) throw ExitWith{128 + signals.received()};
}

void BooksBar::update(BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total) {
  stop_if_requested(signals_);
  if (phase != phase_) progress_.reset();
  if (phase == BooksPhase::kWaiting) {
    if (phase != phase_) print_notice("another process tokenises these books: waiting for it");
    phase_ = phase;
    return;
  }
  phase_ = phase;
  if (!progress_) progress_ = std::make_unique<Progress>(stderr, title_of(phase), megabytes(total));
  progress_->update(megabytes(done), printable_line(name));
}

std::shared_ptr<const BookText> open_books(const std::string& path, const Tokenizer& tokenizer) {
  BooksBar bar;
  LoadBooksOptions options;
  options.notice = print_notice;
  options.progress = [&](BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total) {
    bar.update(phase, name, done, total);
  };
  return load_books(path, tokenizer, options);
}

}  // namespace wt
