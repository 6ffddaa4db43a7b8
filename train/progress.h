// The bar at the bottom of a terminal, and lines above it; plain lines where the output is no terminal, or one that
// knows no escape codes (TERM not set or "dumb"). Work goes on where the output cannot be written any more (its reader
// went away): that is said once, on standard error, and what else would be shown is left out.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace wt {

class Progress {
 public:
  // `stays`: the last bar is left standing; else its line is empty again, for another bar's.
  Progress(std::FILE* out, const std::string& title, std::int64_t total, bool stays = true);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws the bar, at most ten times a second: "train [=====>    ]  48 % 1450/3000 12.1/s 2:08 left loss 0.53".
  // Where the output is no terminal: a plain line after half a minute without any.
  void update(std::int64_t done, const std::string& note = "");
  // `done` of now `total` count as done (a resumed run, a stage that ended early): rate and time left start anew from
  // there. `at_most`: less than `total` may do, and the time left is said so.
  void count_from(std::int64_t done, std::int64_t total, bool at_most = false);
  // A line of its own, above the bar.
  void line(const std::string& text);
  bool is_terminal() const { return is_terminal_; }
  // The output cannot be written any more.
  bool lost() const { return lost_; }

  // The bar's text for a terminal of that width: at most a column less.
  std::string bar(int width) const;

 private:
  void draw();
  void clear();
  void flush();

  std::FILE* out_;
  std::string title_, note_;
  std::int64_t total_, first_ = 0, done_ = 0;
  bool is_terminal_, stays_, at_most_ = false;
  bool drawn_ = false, lost_ = false;
  std::chrono::steady_clock::time_point start_, last_draw_, last_line_;
};

}  // namespace wt
