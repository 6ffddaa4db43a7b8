#include "train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"
#include "train/notice.h"
#include "train/output.h"
#include "train/units.h"

namespace wt {
namespace {

using Clock = std::chrono::steady_clock;

int terminal_width(std::FILE* out) {
  winsize size{};
  return ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool knows_escape_codes(std::FILE* out) {
  const char* term = std::getenv("TERM");
  return ::isatty(::fileno(out)) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

// Characters of three and four bytes may be two columns wide: none counts as less than it takes.
std::size_t columns_of(std::size_t bytes) {
  return bytes >= 3 ? 2 : 1;
}
std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = std::max<std::size_t>(utf8_length_at(text, at), 1);
    columns += columns_of(length);
    at += length;
  }
  return columns;
}
// As much of the text as fits.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = std::max<std::size_t>(utf8_length_at(text, at), 1);
    if (columns < columns_of(length)) break;
    columns -= columns_of(length);
    at += length;
  }
  return text.substr(0, at);
}

// In a log file: often enough to see that work goes on, seldom enough to read.
constexpr std::chrono::seconds kPlainInterval(30);
constexpr int kPlainWidth = 100;

}  // namespace

Progress::Progress(std::FILE* out, const std::string& title, std::int64_t total, bool stays)
    : out_(out),
      title_(printable_line(title)),
      total_(total),
      is_terminal_(knows_escape_codes(out)),
      stays_(stays),
      start_(Clock::now()),
      last_line_(start_) {}

Progress::~Progress() {
  if (!is_terminal_ || !drawn_ || lost_) return;
  if (stays_) {
    draw();
    std::fputc('\n', out_);
  } else {
    clear();
  }
  std::fflush(out_);
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  note_ = printable_line(note);
  const auto now = Clock::now();
  if (!is_terminal_) {
    if (now - last_line_ >= kPlainInterval) line(bar(kPlainWidth));
    return;
  }
  if (drawn_ && done < total_ && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  draw();
}

void Progress::count_from(std::int64_t done, std::int64_t total, bool at_most) {
  at_most_ = at_most;
  total_ = total;
  first_ = done_ = done;
  start_ = Clock::now();
}

void Progress::line(const std::string& text) {
  last_line_ = Clock::now();
  if (lost_) return;
  if (is_terminal_ && drawn_) clear();
  std::fputs(text.c_str(), out_);
  std::fputc('\n', out_);
  if (is_terminal_ && drawn_) draw();
  flush();
}

std::string Progress::bar(int width) const {
  const double share = total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 1;
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;
  std::string tail = fmt::format(" {:3.0f} % {}/{}", 100 * share, done_, total_);
  if (done_ > first_) {
    tail += rate >= 1 ? fmt::format(" {:.1f}/s", rate) : fmt::format(" {:.1f} s each", 1 / rate);
    if (done_ < total_)
      tail += fmt::format(" {}{} left", at_most_ ? "at most " : "",
                          human_duration(static_cast<double>(total_ - done_) / rate));
  }
  if (!note_.empty()) tail += " " + note_;
  // The last column stays free: a line that wraps could not be cleared.
  const auto columns = static_cast<std::size_t>(std::max(width, 1)) - 1;
  const std::size_t fixed = columns_of(title_) + 3 + columns_of(tail);
  const std::size_t cells = fixed + 30 <= columns ? 30 : fixed + 10 <= columns ? columns - fixed : 0;
  std::string out = title_;
  if (cells > 0) {
    const auto full = static_cast<std::size_t>(share * static_cast<double>(cells));
    out += " [" + std::string(full, '=');
    if (full < cells) out += ">" + std::string(cells - full - 1, ' ');
    out += "]";
  }
  out += tail;
  return std::string(cut(out, columns));
}

void Progress::draw() {
  if (lost_) return;
  clear();
  std::fputs(bar(terminal_width(out_)).c_str(), out_);
  flush();
  drawn_ = true;
}

void Progress::flush() {
  const bool said_before = output_failure() != 0;
  if (lost_ || flush_output(out_)) return;
  lost_ = true;
  if (out_ == stdout && !said_before) {
    print_notice(
        cat("standard output cannot be written any more (", std::strerror(output_failure()), "): going on without it"));
  }
}

void Progress::clear() {
  std::fputs("\r\x1b[K", out_);
}

}  // namespace wt
