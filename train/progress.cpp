#include "train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "train/units.h"

namespace wt {
namespace {

using Clock = std::chrono::steady_clock;

int terminal_width(std::FILE* out) {
  winsize size{};
  return ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// In a log file: often enough to see that work goes on, seldom enough to read.
constexpr std::chrono::seconds kPlainInterval(30);
constexpr int kPlainWidth = 100;

}  // namespace

Progress::Progress(std::FILE* out, std::string title, std::int64_t total)
    : out_(out),
      title_(std::move(title)),
      total_(total),
      is_terminal_(::isatty(::fileno(out)) == 1),
      start_(Clock::now()),
      last_line_(start_) {}

Progress::~Progress() {
  if (!is_terminal_ || !drawn_) return;
  draw();
  std::fputc('\n', out_);
  std::fflush(out_);
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  const auto now = Clock::now();
  if (!is_terminal_) {
    if (now - last_line_ >= kPlainInterval) line(bar(kPlainWidth));
    return;
  }
  if (drawn_ && done < total_ && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  draw();
}

void Progress::count_from(std::int64_t done) {
  first_ = done_ = done;
  start_ = Clock::now();
}

void Progress::line(const std::string& text) {
  if (is_terminal_ && drawn_) clear();
  std::fputs(text.c_str(), out_);
  std::fputc('\n', out_);
  if (is_terminal_ && drawn_) draw();
  std::fflush(out_);
  last_line_ = Clock::now();
}

std::string Progress::bar(int width) const {
  const double share = total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 1;
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;
  std::string tail = fmt::format(" {:3.0f} % {}/{}", 100 * share, done_, total_);
  if (done_ > first_) {
    tail += rate >= 1 ? fmt::format(" {:.1f}/s", rate) : fmt::format(" {:.1f} s each", 1 / rate);
    if (done_ < total_) tail += fmt::format(" {} left", human_duration(static_cast<double>(total_ - done_) / rate));
  }
  if (!note_.empty()) tail += " " + note_;
  const auto columns = static_cast<std::size_t>(std::max(width, 20));
  const std::size_t fixed = title_.size() + 3 + tail.size();
  const std::size_t cells = fixed + 30 <= columns ? 30 : fixed + 10 <= columns ? columns - fixed : 0;
  std::string out = title_;
  if (cells > 0) {
    const auto full = static_cast<std::size_t>(share * static_cast<double>(cells));
    out += " [" + std::string(full, '=');
    if (full < cells) out += ">" + std::string(cells - full - 1, ' ');
    out += "]";
  }
  out += tail;
  if (out.size() > columns - 1) out.resize(columns - 1);  // a wrapped line could not be cleared
  return out;
}

void Progress::draw() {
  clear();
  std::fputs(bar(terminal_width(out_)).c_str(), out_);
  std::fflush(out_);
  drawn_ = true;
}

void Progress::clear() {
  std::fputs("\r\x1b[K", out_);
}

}  // namespace wt
