// What a run writes down: its folder, metrics.jsonl, the line per step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace wt {

// A run's folder:
//   config.yaml      the resolved configuration; config.1.yaml, .2, … what it was before a resumption changed it
//   given.yaml       the configuration file that the run was last started or resumed with
//   data.json        what the run's data were, to know them again (run/data_files.h)
//   starts.jsonl     what it was started with and on, each time (run/provenance.h)
//   metrics.jsonl    one JSON object a line: {"step": 120, "loss": 1.23, …}
//   log.txt          what was printed
//   checkpoints/     see run/checkpoint.h
// While it is open, no other process can open it.
class RunFolder {
 public:
  // Throws Error where the folder holds a run already.
  static void refuse_run(const std::string& path);
  // Makes the folder. Throws Error where it holds a run already.
  static RunFolder create(const std::string& path);
  // Throws Error where it holds none.
  static RunFolder resume(const std::string& path);
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  const std::string& path() const { return path_; }
  // Writes config.yaml anew and keeps the one there was as config.1.yaml, or the first number that is free.
  void replace_config(const std::string& text) const;
  // Takes back what create() made, and what was put into it: for a start that failed.
  void take_back() noexcept;
  std::string config_path() const { return path_ + "/config.yaml"; }
  std::string given_path() const { return path_ + "/given.yaml"; }
  std::string starts_path() const { return path_ + "/starts.jsonl"; }
  std::string data_path() const { return path_ + "/data.json"; }
  std::string metrics_path() const { return path_ + "/metrics.jsonl"; }
  std::string log_path() const { return path_ + "/log.txt"; }

 private:
  RunFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;
  std::string made_;  // the outermost folder that create() made; the folder itself where it was there, but empty
};

// True for a folder that a run was started in.
bool is_run_folder(const std::string& path);

// One line of metrics.jsonl, in the order of the calls. Numbers that are not finite become null: JSON has no others.
class MetricRecord {
 public:
  MetricRecord& add(std::string_view key, double value);
  MetricRecord& add(std::string_view key, std::int64_t value);
  MetricRecord& add(std::string_view key, int value) { return add(key, std::int64_t{value}); }
  MetricRecord& add(std::string_view key, bool value);
  MetricRecord& add(std::string_view key, std::string_view value);
  MetricRecord& add(std::string_view key, const char* value) { return add(key, std::string_view(value)); }
  std::string json() const { return "{" + fields_ + "}"; }

 private:
  MetricRecord& add_raw(std::string_view key, const std::string& json);
  std::string fields_;
};

// Appends lines to a file. Every line is one write, so a killed program leaves at most one half line, at the end.
class LineFile {
 public:
  explicit LineFile(const std::string& path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  // Throws Error (a full disk).
  void line(std::string_view text);
  // Flushes to disk: call before a checkpoint, which must not know of steps that the metrics lack.
  void sync();

 private:
  std::string path_;
  int descriptor_ = -1;
};

// Cuts a metrics file for a run that goes on after `step`: from the first line on that belongs to a later step, is not
// JSON, or has no end. A missing file is left missing.
void truncate_metrics(const std::string& path, std::int64_t step);

struct StepStats {
  std::int64_t step = 0, total_steps = 0;
  std::int64_t stage = 0, num_stages = 0;  // counted from 1
  double loss = 0;
  double grad_norm = 0;
  double lr = 0;
  double tokens_per_second = 0;
  std::uint64_t memory_bytes = 0;  // most at once since the last line
  double mfu = -1;                 // share of the peak arithmetic rate in [0, 1]; negative: not known
  double min_denominator = -1;     // smallest denominator of a memory read, perhaps NaN; negative: no memory was read
  std::int64_t skipped = 0;        // steps skipped for a loss or gradient that was not finite, so far
  std::int64_t tokens = 0;         // read in training so far
  double time = 0, seconds = 0;    // since 1970; of training so far, with validations, without times between starts

  // "step 120/3000 stage 2/4 loss 1.234 grad 0.98 lr 1.0e-3 12.3k tok/s mem 512 MiB mfu 41 % min_den 0.02 skipped 0"
  std::string str() const;
  MetricRecord record() const;
};

}  // namespace wt
