// The bar at the bottom of a terminal, and lines above it; plain lines where the output is no terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace wt {

class Progress {
 public:
  Progress(std::FILE* out, std::string title, std::int64_t total);
  // Leaves a last bar standing.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws the bar, at most ten times a second: "train [=====>    ]  48 % 1450/3000 12.1/s 2:08 left loss 0.53".
  // Where the output is no terminal: a plain line after half a minute without any.
  void update(std::int64_t done, const std::string& note = "");
  // `done` of `total` count as done (a resumed run, a stage that ended early): rate and time
  // left start anew from there.
  void count_from(std::int64_t done);
  // A line of its own, above the bar.
  void line(const std::string& text);
  bool is_terminal() const { return is_terminal_; }

  // The bar's text for a terminal of that width.
  std::string bar(int width) const;

 private:
  void draw();
  void clear();

  std::FILE* out_;
  std::string title_, note_;
  std::int64_t total_, first_ = 0, done_ = 0;
  bool is_terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_draw_, last_line_;
};

}  // namespace wt
